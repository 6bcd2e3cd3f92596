"""This file turns a request's rows into columns, and says which field of which row is wrong."""

import difflib
import json
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from typing import Any

from include.errors import BadRequestError
from include.recipe import Features

_FLOAT32_MAX = 3.4e38
_DAY_LENGTH = len("2020-01-02")
_NUMBERS = (float, int)  # and no boolean
_NUMBER_TYPES, _TEXT_TYPES = frozenset(_NUMBERS), frozenset({str, type(None)})
_MISSING = object()
# Of names that are looked through for a misspelt one: requests of others wait meanwhile.
_LONGEST_NAME, _MOST_SENT, _MOST_MISSING, _ALIKE = 40, 10, 3, 0.75


@dataclass(slots=True)  # as Captured
class Instances:
    """The rows of one request, by column."""

    keys: list[str | int]
    days: list[str | None]
    columns: dict[str, list[Any]]


def read_instances(rows: list[dict[str, Any]], *, key: str, day: str, features: Features) -> Instances:
    """Check the rows of a body and return their columns.

    Every feature must be there (null is a value); further fields are ignored; the key and the date may be left out.

    :raises BadRequestError: naming the field and the row.
    """
    if len(rows) == 1 and (one := _one_row(rows[0], features)):
        return Instances([_key_of(rows[0].get(key), key, 0)], [_day_of(rows[0].get(day), day, 0)], one)
    try:
        columns = _columns(rows, features)
    except BadRequestError as error:
        _check_all_there(rows[error.row or 0], features, error)
        raise
    return Instances(
        keys=[_key_of(row.get(key), key, number) for number, row in enumerate(rows)],
        days=[_day_of(row.get(day), day, number) for number, row in enumerate(rows)],
        columns=columns,
    )


def _one_row(row: dict[str, Any], features: Features) -> dict[str, list[Any]] | None:
    """Return the columns of a single row that is certainly right, in a third of the time; None if it may not be."""
    if features.image:
        return None
    texts = (*features.categorical, *features.text)
    try:
        numbers, words = [row[name] for name in features.numeric], [row[name] for name in texts]
    except KeyError:
        return None
    known = [value for value in numbers if value is not None]
    if not set(map(type, known)) <= _NUMBER_TYPES or not set(map(type, words)) <= _TEXT_TYPES:
        return None
    # A sum with a NaN in it is NaN; each of two surrogates is no ASCII.
    if known and not (-_FLOAT32_MAX <= min(known) <= max(known) <= _FLOAT32_MAX and sum(known) == sum(known)):
        return None
    if not all(word is None or word.isascii() for word in words):
        return None
    columns: dict[str, list[Any]] = {
        name: [None if value is None else float(value)] for name, value in zip(features.numeric, numbers, strict=True)
    }
    return columns | {name: [word] for name, word in zip(texts, words, strict=True)}


def _columns(rows: list[dict[str, Any]], features: Features) -> dict[str, list[Any]]:
    columns: dict[str, list[Any]] = {}
    columns |= {name: _numbers(rows, name) for name in features.numeric}
    columns |= {name: _column(rows, name, _check_text) for name in (*features.categorical, *features.text)}
    columns |= {name: [_picture(value) for value in _column(rows, name, _check_picture)] for name in features.image}
    return columns


def _check_all_there(row: dict[str, Any], features: Features, error: BadRequestError) -> None:
    """Say of a row that lacks a feature which ones it lacks, all at once, and what was probably meant to be one."""
    names = (*features.numeric, *features.categorical, *features.text, *features.image)
    missing = [name for name in names if name not in row]
    if error.field in missing:
        several = f"{', '.join(map(repr, missing))} are missing; send null for what is not known."
        said = several if len(missing) > 1 else str(error)
        raise BadRequestError(said + _misspelt(row, names, missing), field=error.field, row=error.row) from error


def _misspelt(row: dict[str, Any], names: tuple[str, ...], missing: list[str]) -> str:
    sent = {name.lower(): name for name in row if name not in names and len(name) <= _LONGEST_NAME}
    sent = dict(list(sent.items())[:_MOST_SENT])
    said = ""
    for name in missing[:_MOST_MISSING]:
        for close in difflib.get_close_matches(name.lower(), sent, n=1, cutoff=_ALIKE):
            said += f" Is '{sent.pop(close)}' meant to be '{name}'?"
    return said


def _numbers(rows: list[dict[str, Any]], name: str) -> list[float | None]:
    values: list[float | None] = []
    for row in rows:
        value = row.get(name, _MISSING)
        if value is not None:
            if type(value) not in _NUMBERS or not -_FLOAT32_MAX <= value <= _FLOAT32_MAX:
                return [_float(found) for found in _column(rows, name, _check_number)]  # which says what is wrong
            value = float(value)
        values.append(value)
    return values


def _column(rows: list[dict[str, Any]], name: str, check: Callable[[Any], str | None]) -> list[Any]:
    values = []
    for number, row in enumerate(rows):
        if name not in row:
            raise BadRequestError(f"'{name}' is missing; send null if it is not known.", field=name, row=number)
        value = row[name]
        problem = None if value is None else check(value)
        if problem:
            raise BadRequestError(f"'{name}' {problem}.", field=name, row=number)
        values.append(value)
    return values


def _float(value: float | None) -> float | None:
    return None if value is None else float(value)


def _check_number(value: Any) -> str | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return f"is {kind_of(value)}, expected a number or null"
    if value != value:  # noqa: PLR0124  only NaN is not itself
        return "is NaN, which is no number; send null if it is not known"
    if not -_FLOAT32_MAX <= value <= _FLOAT32_MAX:
        return "is too large for a 32-bit number"
    return None


def _check_text(value: Any) -> str | None:
    if not isinstance(value, str):
        return f"is {kind_of(value)}, expected a string or null"
    if not value.isascii() and not _is_encodable(value):
        return "holds half a surrogate pair, which is not text"
    return None


def _check_picture(value: Any) -> str | None:
    if isinstance(value, list):
        return None  # whether it holds as many numbers as it should is seen when it is unfolded
    problem = _check_text(value)
    return problem and problem.replace("a string or null", "base64 of a picture, a list of its values, or null")


def _picture(value: str | list[Any] | None) -> str | None:
    return json.dumps(value) if isinstance(value, list) else value


def _key_of(value: Any, name: str, number: int) -> str | int:
    if value is None:
        return uuid.uuid4().hex
    if type(value) is int and abs(value) < 2**63:
        return value
    if isinstance(value, str) and value and _is_encodable(value):
        return value
    raise BadRequestError(f"'{name}' is {kind_of(value)}, expected a string that is not empty.", field=name, row=number)


def _day_of(value: Any, name: str, number: int) -> str | None:
    if value is None:
        return None
    if isinstance(value, str) and len(value) == _DAY_LENGTH and _is_day(value):
        return value
    raise BadRequestError(f"'{name}' is {str(value)[:40]!r}, expected a date as YYYY-MM-DD.", field=name, row=number)


@lru_cache(1024)  # of few days, most of the time
def _is_day(value: str) -> bool:
    try:
        return date.fromisoformat(value).isoformat() == value
    except ValueError:
        return False


def _is_encodable(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def kind_of(value: Any) -> str:
    """Return what a value is, in the words of JSON."""
    kinds = {bool: "a boolean", str: "a string", list: "a list", dict: "an object", type(None): "null"}
    return kinds.get(type(value), "a number" if isinstance(value, int | float) else f"a {type(value).__name__}")
