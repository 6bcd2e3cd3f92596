"""This file measures what a tree of processes really occupies: proportional set size, shared pages counted once."""

import threading
from pathlib import Path
from types import TracebackType

import psutil

SECONDS_BETWEEN_LOOKS = 10.0  # a look walks every process's page tables: a second of the kernel's time


class PeakMemory:
    """Watch this process and all its descendants while a `with` block runs; `megabytes` is the largest sum of PSS."""

    def __init__(self) -> None:
        self.megabytes = 0.0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="peak-memory", daemon=True)

    def __enter__(self) -> "PeakMemory":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        me = psutil.Process()
        while not self._ended.wait(SECONDS_BETWEEN_LOOKS):
            processes = [me, *me.children(recursive=True)]
            self.megabytes = max(self.megabytes, sum(_pss_kilobytes(process.pid) for process in processes) / 1024)


def _pss_kilobytes(pid: int) -> int:
    # psutil adds up /proc/PID/smaps line by line; the kernel's own sum is much cheaper.
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)
