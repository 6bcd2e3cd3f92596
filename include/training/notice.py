"""This file lets a training finish its step when it is asked to end: a spot machine's notice is a SIGTERM."""

import signal
from types import FrameType


class Notice:
    """Says whether this process was asked to end; true once it was."""

    def __init__(self) -> None:
        """Listen from now on."""
        self._given = False
        signal.signal(signal.SIGTERM, self._note)

    def __bool__(self) -> bool:
        """Tell whether it was asked to."""
        return self._given

    def _note(self, _number: int, _frame: FrameType | None) -> None:
        self._given = True
