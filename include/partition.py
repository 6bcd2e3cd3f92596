"""This file says which days a run is about, and names runs in a way that is safe in paths."""

import re
from datetime import date, timedelta


def days_between(first: date, last: date) -> list[str]:
    """Return all days from first to last, both included, as YYYY-MM-DD.

    :raises ValueError: if last is before first.
    """
    if last < first:
        raise ValueError(f"The range ends ({last}) before it begins ({first}): swap the two dates.")
    return [(first + timedelta(days=offset)).isoformat() for offset in range((last - first).days + 1)]


def run_key_of(run_id: str) -> str:
    """Return a run's id with everything replaced that a path or an event key should not hold."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", run_id).strip("-")
