"""A throw-away PostgreSQL server from the binaries of this machine, started when a test first asks for it."""

import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import psycopg
import pytest

from include.process import die_with_parent

# `.ci/run` installs PostgreSQL and sets this: there, its absence is a failure and not a reason to skip.
REQUIRED = "EVERGREEN_TESTS_NEED_POSTGRESQL"
# Nothing in it is to last.
FAST = ("-c", "fsync=off", "-c", "synchronous_commit=off", "-c", "full_page_writes=off", "-c", "max_connections=100")


def _binaries() -> Path:
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
    found = next((path for path in reversed(debian) if (path / "initdb").exists()), None)
    on_path = shutil.which("initdb")
    if found is None and on_path is None:
        why = "PostgreSQL's server is not installed: on Debian, apt-get install postgresql."
        if os.environ.get(REQUIRED):
            pytest.fail(why)
        pytest.skip(why)
    return found or Path(str(on_path)).parent


@pytest.fixture(scope="session")
def postgres_folder() -> Iterator[Path]:
    """The folder of a running server's socket. PostgreSQL refuses to run as root: it is given another user then."""
    binaries = _binaries()
    with tempfile.TemporaryDirectory(prefix="evergreen-pg-") as name, _server(binaries, Path(name)) as folder:
        yield folder


@contextmanager
def _server(binaries: Path, folder: Path) -> Iterator[Path]:
    user = None
    if os.getuid() == 0:
        known = {entry.pw_name for entry in pwd.getpwall()}
        user = "postgres" if "postgres" in known else "nobody"
        shutil.chown(folder, user)
    as_user = {"user": user, "extra_groups": [] if user else None, "cwd": folder}
    subprocess.run(
        [binaries / "initdb", "-D", folder / "data", "-U", "evergreen", "-A", "trust", "-E", "UTF8", "-N"],
        check=True,
        stdout=subprocess.DEVNULL,
        **as_user,
    )
    with (folder / "log").open("w") as log:
        server = subprocess.Popen(
            [binaries / "postgres", "-D", folder / "data", "-k", folder, "-c", "listen_addresses=", *FAST],
            stdout=log,
            stderr=log,
            preexec_fn=die_with_parent,  # noqa: PLW1509 - one prctl call, no locks
            **as_user,
        )
    try:
        _wait_for(folder, server)
        yield folder
    finally:
        server.send_signal(2)  # SIGINT: end at once, whoever is connected
        server.wait(30)


@pytest.fixture
def postgres(postgres_folder: Path) -> Iterator[Callable[[], str]]:
    """Make empty databases, and return the URL of each."""
    made = []

    def make() -> str:
        name = f"test_{next(_numbers)}"
        _run(postgres_folder, f"CREATE DATABASE {name}")
        made.append(name)
        return f"postgresql+psycopg://evergreen@/{name}?host={postgres_folder}"

    yield make
    for name in made:
        _run(postgres_folder, f"DROP DATABASE {name} WITH (FORCE)")


_numbers = count()


def _run(folder: Path, statement: str) -> None:
    with psycopg.connect(host=str(folder), user="evergreen", dbname="postgres", autocommit=True) as connection:
        connection.execute(statement)


def _wait_for(folder: Path, server: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + 60
    while True:
        try:
            return _run(folder, "SELECT 1")
        except psycopg.OperationalError:
            if server.poll() is not None or time.monotonic() > until:
                pytest.fail(f"PostgreSQL did not start: {(folder / 'log').read_text()}")
            time.sleep(0.02)


@pytest.fixture(params=["sqlite", "postgresql"])
def ledger_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty ledger: each test that takes it runs on SQLite and on a real PostgreSQL."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'ledger.db'}"
    make: Callable[[], str] = request.getfixturevalue("postgres")
    return make()
