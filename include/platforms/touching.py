"""This file writes, reads and removes a small file on a storage, as a process of its own: one that hangs is killed.

Arrow tries for minutes to reach a store that does not answer, in a thread of its own too, for which Python waits.
"""

import subprocess
import sys
from uuid import uuid4

from include.filesystems import filesystem_of
from include.finding import PATIENCE
from include.settings import ROOT


def touched(uri: str) -> str:
    """Return what was done below a URI.

    :raises OSError: if the storage refuses, or does not answer in time.
    """
    try:
        done = subprocess.run(  # noqa: S603 - our own module
            [sys.executable, "-m", "include.platforms.touching", uri],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise TimeoutError(f"{uri} gave no answer within {PATIENCE:g} s") from error
    if done.returncode:
        raise OSError(done.stderr.strip())
    return f"a file below {uri} was written, read and deleted"


def touch(uri: str) -> None:
    """Write, read and remove a small file below a URI."""
    files, there = filesystem_of(uri)
    files.makedirs(there, exist_ok=True)
    path = f"{there.rstrip('/')}/.plan-{uuid4().hex}"
    files.pipe_file(path, b"evergreen plan")
    try:
        files.cat_file(path)
    finally:
        files.rm_file(path)


if __name__ == "__main__":
    try:
        touch(sys.argv[1])
    except Exception as problem:  # noqa: BLE001 - whatever the storage's library raises is what was found
        sys.exit(f"{type(problem).__name__}: {problem}")
