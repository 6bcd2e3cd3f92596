"""This file writes a guessed pipeline down as YAML for people, with a note beside what was guessed. Pure."""

import json
import re
import textwrap
from collections.abc import Iterator, Mapping
from datetime import date
from typing import Any

import yaml

from include.onboarding.guess import Guess

WIDTH = 110
# Always in blocks, one line each: what people look through and change.
BLOCKS = {"source", "cleaning", "columns", "derive", "rules", "training", "features", "text", "governor", "schedule"}
SECTIONS = {"schedule", "key", "source", "cleaning", "expectations", "training", "gate"}  # a blank line before


def write(guess: Guess, head: str, schema: str) -> str:
    """Return the YAML, notes as comments; columns that were left out are comments below those that were not.

    :param schema: path of the JSON schema, from the YAML's folder: editors complete and check by it.
    """
    lines = [f"# yaml-language-server: $schema={schema}", *(f"# {line}" for line in textwrap.wrap(head, WIDTH))]
    for key, value in guess.content.items():
        if key in SECTIONS:
            lines.append("")
        lines += _entry(key, value, key, guess, indent=0)
    return "\n".join(lines) + "\n"


def text(value: Any) -> str:
    """Return a scalar as YAML: plain where that reads back as the same, in double quotes else."""
    if isinstance(value, date):
        return value.isoformat()
    if not isinstance(value, str):
        return json.dumps(value)
    is_plain = re.fullmatch(r"[\w./<][\w ./%<>=()+-]*", value) and not value.endswith(" ")
    try:
        reads_back = bool(is_plain) and yaml.safe_load(f"[{value}]") == [value] and yaml.safe_load(value) == value
    except yaml.YAMLError:
        reads_back = False
    return value if reads_back else json.dumps(value, ensure_ascii=False)


def flow(value: Any) -> str:
    """Return a value on one line."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{text(key)}: {flow(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(flow(each) for each in value) + "]"
    return text(value)


def _entry(key: str, value: Any, place: str, guess: Guess, *, indent: int) -> Iterator[str]:
    pad, note = " " * indent, guess.notes.get(place, "")
    if isinstance(value, Mapping) and value and key in BLOCKS:
        yield from _noted(f"{pad}{text(key)}:", note)
        for name, each in value.items():
            yield from _entry(name, each, f"{place}.{name}", guess, indent=indent + 2)
        if place == "cleaning.columns":
            yield from _left_out(guess, pad + "  ")
    elif isinstance(value, list) and value and isinstance(value[0], Mapping):
        yield from _noted(f"{pad}{text(key)}:", note)
        yield from (f"{pad}  - {name}: {flow(each)}" for entry in value for name, each in entry.items())
    else:
        line = f"{pad}{text(key)}: {flow(value)}"
        yield from _wrapped(line, indent + 4) if len(line) > WIDTH and not note else _noted(line, note)


def _noted(line: str, note: str) -> Iterator[str]:
    if note and len(line) + len(note) > WIDTH + 20:
        pad = " " * (len(line) - len(line.lstrip()))
        yield from (f"{pad}# {part}" for part in textwrap.wrap(note, WIDTH))
        yield line
    else:
        yield f"{line}    # {note}" if note else line


def _wrapped(line: str, indent: int) -> Iterator[str]:
    # A flow list, and text in double quotes, may go on in the next line wherever there was a space.
    yield from textwrap.wrap(
        line,
        WIDTH,
        subsequent_indent=" " * indent,
        break_long_words=False,
        break_on_hyphens=False,
        drop_whitespace=True,
    )


def _left_out(guess: Guess, pad: str) -> Iterator[str]:
    if guess.left_out:
        yield f"{pad}# Not taken, because such a column …"
    for name, why in guess.left_out.items():
        yield f"{pad}# {text(name)}: {why}"
