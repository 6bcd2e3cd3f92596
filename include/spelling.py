"""This file guesses which known name a mistyped one was meant to be."""

import difflib
from collections.abc import Iterable


def did_you_mean(word: object, known: Iterable[str]) -> str:
    """Return ` Did you mean 'x'?` with the known name most like the word, or nothing if none is like it."""
    close = difflib.get_close_matches(str(word), list(known), n=1, cutoff=0.6)
    return f" Did you mean '{close[0]}'?" if close else ""
