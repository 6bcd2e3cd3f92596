"""This file writes one line a request, as JSON, without ever making an answer wait for the disk."""

import fcntl
import logging
import threading
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any, TextIO

import msgspec

log = logging.getLogger(__name__)

FLUSH_SECONDS = 1.0
MAX_WAITING_LINES = 50_000
_ENCODER = msgspec.json.Encoder()
FILES = 3  # the one that is written and two before it


class AccessLog:
    """A buffer that a thread writes away once a second.

    Each worker process has the first file that no other holds, so that a restart goes on with it: as many as there are
    workers, each rotated.

    :param megabytes: what a worker's files may take together; 0: nothing is logged.
    """

    def __init__(self, folder: Path, megabytes: int) -> None:
        self._folder = folder
        self._megabytes = megabytes
        self._buffer = _Buffer()
        self._file: _File | None = None
        self._lock: TextIO | None = None
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to write, if there is anywhere to write to."""
        if not self._megabytes:
            return
        try:
            path, self._lock = _own_file(self._folder)
        except OSError as error:
            log.warning("There is no access log: %s", error)
            return
        self._file = _File(path, maxBytes=self._megabytes * 10**6 // FILES, backupCount=FILES - 1, delay=True)
        self._thread = threading.Thread(target=self._write_forever, name="access-log", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Write what waits, then stop."""
        self._stop.set()
        if self._thread:
            self._thread.join(timeout=10)
        if self._file:
            self._flush()
            self._file.close()
        if self._lock:
            self._lock.close()

    def write(self, line: Any) -> None:
        """Log one request: a dictionary, or a dataclass with a field per name."""
        if self._file:
            self._buffer.put(line)

    def _write_forever(self) -> None:
        while not self._stop.wait(FLUSH_SECONDS):
            self._flush()

    def _flush(self) -> None:
        try:
            if self._file and (lines := self._buffer.take()):
                self._file.handle(logging.makeLogRecord({"msg": "\n".join(lines)}))
        except Exception:  # the thread must outlive any surprise
            log.exception("Writing the access log failed.")


class _Buffer:
    """Lines that wait; when too many do, the next one that fits says how many were lost before it."""

    def __init__(self) -> None:
        self._waiting: list[str] = []
        self._num_lost = 0

    def put(self, line: Any) -> None:
        """Take a line in, as text already: to make thousands at once would hold up whoever is answered then."""
        if len(self._waiting) >= MAX_WAITING_LINES:
            self._num_lost += 1
            return
        if self._num_lost:
            line, self._num_lost = msgspec.to_builtins(line) | {"lost_before": self._num_lost}, 0
        self._waiting.append(_ENCODER.encode(line).decode())

    def take(self) -> list[str]:
        """Return the lines that wait, as JSON."""
        lines, self._waiting = self._waiting, []
        return lines


class _File(RotatingFileHandler):
    """One that says once, not once a line, that it cannot write."""

    _has_said = False

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: ARG002, N802
        if not self._has_said:
            log.exception("%s cannot be written; this is said once.", self.baseFilename)
        self._has_said = True


def _own_file(folder: Path) -> tuple[Path, TextIO]:
    folder.mkdir(parents=True, exist_ok=True)
    number = 0
    while True:
        lock = (folder / f".access-{number}.lock").open("w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            number += 1
        else:
            return folder / f"access-{number}.jsonl", lock
