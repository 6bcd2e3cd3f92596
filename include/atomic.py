"""This file writes files so that a reader sees the old one or the new one, never half of one."""

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from include.errors import DiskFullError

# As the system, SQLite and Spark (which tells its Java exception as text) say it.
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_NO_ROOM_TEXTS = (*(os.strerror(number) for number in sorted(_NO_ROOM)), "database or disk is full")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path beside the wanted one, and move it there if nothing was raised.

    :raises DiskFullError: if there is no room for it; nothing of it is left then.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid4().hex[:8]}")
    try:
        with writing(path):
            yield temporary
            os.replace(temporary, path)  # noqa: PTH105
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Say so where a disk is full, whatever writes to it within.

    :raises DiskFullError: instead of what the writer raised.
    """
    try:
        yield
    except Exception as error:
        is_full = isinstance(error, OSError) and error.errno in _NO_ROOM
        if not is_full and not any(said in str(error) for said in _NO_ROOM_TEXTS):
            raise
        there = next(folder for folder in (path, *path.parents) if folder.exists())
        raise DiskFullError(
            f"{path}: no room to write it ({shutil.disk_usage(there).free / 1e9:.1f} GB free on its disk). Nothing "
            "half-written is in use: make room, then clear the task."
        ) from error


def write_text(path: Path, text: str) -> None:
    """Write a text file at once."""
    with replacing(path) as temporary:
        temporary.write_text(text)
