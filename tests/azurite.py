"""Azurite, Azure's own emulator of its Blob storage: an npm package, kept in a cache outside the repository."""

import os
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

import pytest
from filelock import FileLock

from include.demo.airflow_api import wait_until
from include.process import die_with_parent

# `.ci/run` sets this: there, its absence is a failure and not a reason to skip.
REQUIRED = "EVERGREEN_TESTS_NEED_AZURITE"
VERSION = "3.37.0"
ACCOUNT = "devstoreaccount1"
# The one account and key that every Azurite has; they are public.
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
OPTIONS = ["--inMemoryPersistence", "--skipApiVersionCheck", "--disableTelemetry", "--silent"]


@pytest.fixture(scope="session")
def azurite(free_ports: Callable[[int], list[int]]) -> Iterator[str]:
    """The connection string of an empty Azurite."""
    program, (port,) = _installed(), free_ports(1)
    process = subprocess.Popen(
        [str(program), "--blobHost", "127.0.0.1", "--blobPort", str(port), *OPTIONS],
        stdout=subprocess.DEVNULL,
        preexec_fn=die_with_parent,  # noqa: PLW1509 - one prctl call, no locks
    )
    try:
        wait_until(lambda: _listens(port), 60, lambda: f"no Azurite at {port}")
        endpoint = f"http://127.0.0.1:{port}/{ACCOUNT}"
        yield f"DefaultEndpointsProtocol=http;AccountName={ACCOUNT};AccountKey={KEY};BlobEndpoint={endpoint};"
    finally:
        process.terminate()
        process.wait()


def _installed() -> Path:
    npm = shutil.which("npm") or _missing("Azurite is an npm package, and npm is not installed: apt-get install npm.")
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"), "evergreen-tests", f"azurite-{VERSION}")
    cache.mkdir(parents=True, exist_ok=True)
    done = cache / "done"
    with FileLock(cache / "lock"):  # tests that run side by side install it once
        if not done.exists():
            install = [npm, "install", "--prefix", str(cache), "--ignore-scripts", "--no-audit", "--no-fund"]
            found = subprocess.run([*install, f"azurite@{VERSION}"], capture_output=True, text=True, check=False)
            if found.returncode:
                _missing(f"npm cannot install Azurite: {found.stderr.strip()[-500:]}")
            done.touch()
    return cache / "node_modules" / ".bin" / "azurite-blob"


def _missing(why: str) -> NoReturn:
    if os.environ.get(REQUIRED):
        pytest.fail(why)
    pytest.skip(why)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
