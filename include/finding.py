"""This file says what a look at something has given: it is right, it is not and what to do, or it cannot be told."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeVar

T = TypeVar("T")
Verdict = Literal["ok", "problem", "unsure"]

PATIENCE = 10.0  # seconds


@dataclass(frozen=True)
class Finding:
    """What was looked at, and what was found."""

    what: str
    verdict: Verdict
    found: str
    remedy: str = ""  # of a problem; of what cannot be told, how a person could

    def __str__(self) -> str:
        return " ".join(part for part in (self.found, self.remedy) if part)


def ok(what: str, found: str) -> Finding:
    """Say that a thing is right."""
    return Finding(what, "ok", found)


def problem(what: str, found: str, remedy: str = "") -> Finding:
    """Say what is wrong, and what to do; an error of Evergreen's own says both at once."""
    return Finding(what, "problem", _sentence(found), _sentence(remedy))


def unsure(what: str, why: str, remedy: str = "") -> Finding:
    """Say why a thing cannot be told from here, or needs a person's look."""
    return Finding(what, "unsure", _sentence(why), _sentence(remedy))


def looked_at(what: str, work: Callable[[], str], remedy: str, *, seconds: float = PATIENCE) -> Finding:
    """Return what came of a look: `work` says what it found, or raises.

    :param remedy: what to do if it raises, or is not done in time.
    """
    try:
        return ok(what, within(seconds, work))
    except Exception as error:  # noqa: BLE001 - whatever it is, it is what was found
        return problem(what, str(error) or type(error).__name__, remedy)


def within(seconds: float, work: Callable[[], T]) -> T:
    """Return what a function gives; one that hangs is left alone.

    :raises TimeoutError: if it has given nothing by then.
    """
    given: list[T] = []
    raised: list[Exception] = []

    def run() -> None:
        try:
            given.append(work())
        except Exception as error:  # noqa: BLE001 - raised again where it is waited for
            raised.append(error)

    # Not an executor: Python waits for its threads at the end, also for those that hang in a library.
    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    if raised:
        raise raised[0]
    if not given:
        raise TimeoutError(f"no answer within {seconds:g} s")
    return given[0]


def _sentence(text: str) -> str:
    """Return a text on one line, ended."""
    line = " ".join(text.split())
    return line if not line or line[-1] in ".?!" else f"{line}."
