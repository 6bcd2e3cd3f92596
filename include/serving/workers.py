"""This file is the roll of the endpoint's processes: each says what it serves, and is forgotten when it dies.

Several processes share a port, so that one answer speaks for one of them only. Each holds a lock on a file of its own,
which the system takes away when the process ends, however it ends: whoever can take the lock knows that it is gone.
"""

import fcntl
import json
import multiprocessing
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

from include import atomic
from include.process import die_with_parent
from include.settings import Settings


class Worker:
    """This process on the roll; there from its start, so that nobody takes it for one that serves the newest state."""

    def __init__(self, settings: Settings) -> None:
        """Join the roll, and end with the process that has started this one to share its port."""
        if multiprocessing.parent_process():
            die_with_parent()
        folder = _folder(settings)
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / f"{os.getpid()}-{uuid4().hex[:8]}.lock"
        hidden = self._path.with_suffix(".new")
        self._lock = hidden.open("w")
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        hidden.rename(self._path)  # nobody ever sees it without its lock

    def tell(self, pipelines: dict[str, Any], errors: dict[str, str]) -> None:
        """Say what this process serves, and which declared states it cannot serve."""
        atomic.write_text(_said(self._path), json.dumps({"pipelines": pipelines, "errors": errors}))

    def leave(self) -> None:
        """Take this process off the roll."""
        _forget(self._path)
        self._lock.close()


def call_the_roll(settings: Settings, forget: Callable[[int], None] = lambda _pid: None) -> list[dict[str, Any]]:
    """Return what each living process says; `pipelines` is empty for one that has not said anything yet.

    :param forget: is told the process id of each that was found dead.
    """
    found = []
    for path in sorted(_folder(settings).glob("*.lock")):
        pid = int(path.stem.partition("-")[0])
        if _is_alive(path):
            found.append({"pid": pid, **_read(_said(path))})
        else:
            _forget(path)
            forget(pid)
    return found


def _folder(settings: Settings) -> Path:
    return settings.serving / "workers"


def _said(path: Path) -> Path:
    return path.with_suffix(".json")


def _is_alive(path: Path) -> bool:
    try:
        with path.open() as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except FileNotFoundError:  # it has just left
        return False
    return False


def _read(path: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(path.read_text())
    except FileNotFoundError:
        return {"pipelines": {}, "errors": {}}
    return found


def _forget(path: Path) -> None:
    _said(path).unlink(missing_ok=True)
    path.unlink(missing_ok=True)
