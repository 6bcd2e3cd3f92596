"""This file is how a training process says how it ended: by exit code, and in a file for who is not its parent."""

from pathlib import Path

from include import atomic

FAILED = 1
BAD_INPUT = 65  # EX_DATAERR of sysexits.h: another try would end the same
RESUME = 75  # EX_TEMPFAIL: it was asked to end and has saved its state; the next try goes on from there


def write_outcome(path: Path, code: int) -> None:
    """Leave the exit code."""
    atomic.write_text(path, str(code))


def read_outcome(path: Path) -> int:
    """Return the exit code that was left; `FAILED` if the process could not leave one."""
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return FAILED
