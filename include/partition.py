"""This file says what a day is and which days a run is about, and names runs in a way that is safe in paths."""

import re
from collections.abc import Sequence
from datetime import date, timedelta

from include.errors import ConfigError


def days_between(first: date, last: date) -> list[str]:
    """Return all days from first to last, both included, as YYYY-MM-DD.

    :raises ValueError: if last is before first.
    """
    if last < first:
        raise ValueError(f"The range ends ({last}) before it begins ({first}): swap the two dates.")
    return [(first + timedelta(days=offset)).isoformat() for offset in range((last - first).days + 1)]


def is_day(text: str) -> bool:
    """Say whether a text is a day as YYYY-MM-DD."""
    try:
        return date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False


def check_day(text: str, option: str) -> None:
    """Refuse what was given as a day and is none.

    :raises ConfigError: naming the option.
    """
    if not is_day(text):
        raise ConfigError(f"{option} '{text}' is no day: expected is YYYY-MM-DD, such as 2026-01-31.")


def days_around(day: str, there: Sequence[str]) -> str:
    """Return a sentence on the days that are there, oldest first, for one that is not among them."""
    nearest = [*[each for each in there if each < day][-1:], *[each for each in there if each > day][:1]]
    return f"Days there: {len(there)} between {there[0]} and {there[-1]}, nearest: {' and '.join(nearest)}."


def run_key_of(run_id: str) -> str:
    """Return a run's id with everything replaced that a path or an event key should not hold."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", run_id).strip("-")
