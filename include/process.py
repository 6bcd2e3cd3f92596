"""This file ties processes together: a child's life to its parent's, and services to the stack that started them."""

import ctypes
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

PR_SET_PDEATHSIG = 1
MARK = "EVERGREEN_SERVICES_OF"  # in the environment of every service: the data folder of its stack


def die_with_parent() -> None:
    """Ask the kernel, in a child about to start its program, to end it when its parent is gone, even by `kill -9`."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def processes_of(mark: str, folder: Path, *, session: int | None) -> list[psutil.Process]:
    """Return the living processes of a stack: also those whose supervisor or parent has died.

    They carry the stack's mark in their environment, which a program that changes its title overwrites (Airflow does);
    then they are known by session and folder together: a number of a session is not given again while one of its
    processes lives. This process and those it came from are never among them.

    :param mark: what `MARK` is set to.
    :param folder: where the services were started.
    :param session: the supervisor's process id, which is the number of the services' session.
    """
    own = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if process.pid in own or process.status() == psutil.STATUS_ZOMBIE:
                continue
            is_marked = process.environ().get(MARK) == mark
            if is_marked or (os.getsid(process.pid) == session and Path(process.cwd()) == folder):
                found.append(process)
    return sorted(found, key=lambda process: process.pid != session)  # the supervisor first: it starts others again


def kill_all(processes: Callable[[], list[psutil.Process]]) -> None:
    """Kill processes until none is found any more: some start others while they are looked for."""
    for _ in range(10):
        if not (left := processes()):
            return
        for process in left:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(left, timeout=10)


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Let Ctrl-C, and what else asks this process to end, wait for the end of a `with` block."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = [signal.signal(number, signal.SIG_IGN) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
