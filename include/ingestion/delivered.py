"""This file says what a source hands over: bytes as they were delivered, or rows written down as JSON lines."""

import gzip
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Delivered:
    """One delivered file, or what stands for one: where it came from, what its name ends in, its bytes."""

    origin: str
    suffix: str  # .csv, .jsonl or .parquet, each also with .gz
    content: bytes


def rows_as_file(origin: str, rows: Iterable[Mapping[str, Any]], *, has_order: bool) -> Delivered:
    """Write rows down as packed JSON lines: the same rows give the same bytes, sorted where they have no order."""
    lines = [json.dumps({name: as_text(value) for name, value in row.items()}, ensure_ascii=False) for row in rows]
    text = "\n".join(lines if has_order else sorted(lines)) + "\n"
    return Delivered(origin, ".jsonl.gz", gzip.compress(text.encode(), compresslevel=3, mtime=0))


def as_text(value: Any) -> str | None:
    """Return a value of JSON or of a database as the text that a CSV would have; empty is none."""
    if value is None or isinstance(value, str):
        return value or None
    if isinstance(value, bool):
        return "true" if value else "false"
    return json.dumps(value, default=str, ensure_ascii=False) if isinstance(value, dict | list) else str(value)
