"""This file is a bounded queue and the thread that works it off in batches, without ever making who fills it wait."""

import logging
import threading
from collections.abc import Callable
from typing import Any, Generic, Protocol, TypeVar

log = logging.getLogger(__name__)

SECONDS_BETWEEN = 1.0


class Waiting(Protocol):
    """What items wait in: a list, or something that does part of the work as they come."""

    def append(self, item: Any, /) -> None:
        """Take an item in."""


Item = TypeVar("Item")
Batch = TypeVar("Batch", bound=Waiting)


class Batches(Generic[Item, Batch]):
    """Takes items in, and hands all that wait to one function: once a second, and as soon as there are enough rows.

    :param work: is given what waits, also nothing; what it raises is logged, and the batch is lost.
    :param begin: makes a new one for what comes next.
    :param enough: rows that wake it at once.
    """

    def __init__(self, name: str, work: Callable[[Batch], None], begin: Callable[[], Batch], *, enough: float) -> None:
        self._work = work
        self._begin = begin
        self._enough = enough
        self._waiting = begin()
        self._lock = threading.Lock()
        self._working = threading.Lock()
        self._wake = threading.Event()
        self._is_stopping = False
        self._thread = threading.Thread(target=self._go_on, name=name, daemon=True)
        self.num_rows = 0  # that wait

    def start(self) -> None:
        """Start working."""
        self._thread.start()

    def stop(self) -> None:
        """Work off what waits, then stop."""
        self._is_stopping = True
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(timeout=30)
        self.flush()

    def put(self, item: Item, num_rows: int, *, most: int) -> bool:
        """Take an item in, unless more than `most` rows would wait then; tell whether it was taken."""
        with self._lock:
            if self.num_rows + num_rows > most:
                return False
            self._waiting.append(item)
            self.num_rows += num_rows
            is_enough = self.num_rows >= self._enough
        if is_enough:
            self._wake.set()
        return True

    def flush(self) -> None:
        """Work off what waits now."""
        with self._working:
            with self._lock:
                batch, self._waiting, self.num_rows = self._waiting, self._begin(), 0
            self._work(batch)

    def _go_on(self) -> None:
        while not self._is_stopping:
            self._wake.wait(SECONDS_BETWEEN)
            self._wake.clear()
            try:
                self.flush()
            except Exception:  # the thread must outlive any surprise
                log.exception("%s: a batch failed.", self._thread.name)
