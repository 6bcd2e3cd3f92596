"""This file names places for people: paths below the project as short as they are, URLs without what is secret."""

from pathlib import Path
from urllib.parse import urlsplit

from include.settings import ROOT


def shown(place: str | Path) -> str:
    """Return a path or URL as it may be shown: no user, password, token or option."""
    text = str(place)
    if "://" in text:
        parts = urlsplit(text.split(";")[0])  # Spark's options, its token among them, follow a semicolon
        text = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
    return text.replace(f"{ROOT}/", "").removesuffix("/")
