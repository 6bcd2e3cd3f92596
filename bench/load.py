"""This file asks a server as fast as it answers, with wrk: on a core of its own, the server on another."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

CONNECTIONS = 32
SCRIPT = Path(__file__).parent / "load.lua"
T = TypeVar("T")


@dataclass(frozen=True)
class Answered:
    """What wrk counted in one run."""

    answered: int
    failed: int
    seconds: float
    p50_ms: float
    p99_ms: float

    @property
    def per_second(self) -> float:
        """Return the requests answered a second."""
        return self.answered / self.seconds


@contextmanager
def on_its_core(server: AbstractContextManager[T]) -> Iterator[T]:
    """Start a server that lives on this machine's first core, with all its threads and processes."""
    cores = os.sched_getaffinity(0)
    with ExitStack() as running:
        os.sched_setaffinity(0, {min(cores)})  # what is started now inherits it
        try:
            started = running.enter_context(server)
        finally:
            os.sched_setaffinity(0, cores)
        yield started


def ask(url: str, bodies: Path, seconds: float, key: str = "") -> Answered:
    """Post the bodies of a file, one a line, in turn over 32 connections for some seconds.

    :raises RuntimeError: if wrk is not there, there is no second core for it, or an answer is no success.
    """
    wrk, cores = shutil.which("wrk"), os.sched_getaffinity(0)
    if not wrk or len(cores) < 2:
        raise RuntimeError("The load wants wrk (Debian: `apt-get install wrk`) and a core beside the server's.")
    command = [wrk, "-t1", f"-c{CONNECTIONS}", f"-d{seconds:g}s", "--timeout", "30s", "-s", str(SCRIPT), url]
    done = subprocess.run(
        ["taskset", "-c", str(max(cores)), *command],  # noqa: S607
        env=os.environ | {"BENCH_BODIES": str(bodies), "BENCH_KEY": key},
        capture_output=True,
        check=True,
        text=True,
    )
    found = next(line for line in done.stdout.splitlines() if line.startswith("JSON "))
    answered = Answered(**json.loads(found.removeprefix("JSON ")))
    if answered.failed or not answered.answered:
        raise RuntimeError(f"{url}: {answered.failed} requests failed beside {answered.answered} answered.")
    return answered
