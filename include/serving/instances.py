"""This file turns a request's body into columns, and says which field of which row is wrong."""

import json
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from typing import Any

import msgspec

from include.errors import BadRequestError
from include.recipe import Features
from include.serving.limits import endpoint_limits

_FLOAT32_MAX = 3.4e38
_MOST_DIGITS = 400
_DAY_LENGTH = len("2020-01-02")
_NUMBERS = (float, int)  # and no boolean
_NUMBER_TYPES, _TEXT_TYPES = frozenset(_NUMBERS), frozenset({str, type(None)})
_MISSING = object()
_FAST = msgspec.json.Decoder(dict[str, list[dict[str, Any]]])


@dataclass(frozen=True)
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
    """Say of a row that lacks a feature which ones it lacks, all at once."""
    names = (*features.numeric, *features.categorical, *features.text, *features.image)
    missing = [name for name in names if name not in row]
    if error.field in missing and len(missing) > 1:
        said = f"{', '.join(map(repr, missing))} are missing; send null for what is not known."
        raise BadRequestError(said, field=error.field, row=error.row) from error


def rows_of(body: bytes) -> list[dict[str, Any]]:
    """Return the rows of a body of the form `{"instances": [{feature: value, ...}, ...]}`.

    :raises BadRequestError: if it has none, too many, or something else.
    """
    rows = _fast_rows_of(body)
    return _careful_rows_of(body) if rows is None else rows


def _fast_rows_of(body: bytes) -> list[dict[str, Any]] | None:
    """Return the rows of a body that is certainly right, in a fifth of the time; None if that is not certain."""
    try:
        content = _FAST.decode(body)
    except (ValueError, RecursionError):
        return None
    rows = content.get("instances")
    if not rows or len(rows) > endpoint_limits().rows:
        return None
    # A name that is there twice is lost in decoding: there are more colons then than names. (Or some are in texts.)
    num_colons = body.count(b":") - len(content) - sum(map(len, rows))
    if num_colons and (b"\\u" in body or num_colons != sum(map(_num_colons, rows))):
        return None
    return rows


def _num_colons(row: dict[str, Any]) -> int:
    return sum(text.count(":") for pair in row.items() for text in pair if type(text) is str)


def _careful_rows_of(body: bytes) -> list[dict[str, Any]]:
    try:
        content = json.loads(body, object_pairs_hook=_object, parse_int=_int)
    except RecursionError as error:
        raise BadRequestError("The body is nested too deeply.", status=400, reason="not_json") from error
    except ValueError as error:
        raise BadRequestError(f"The body is not JSON: {error}", status=400, reason="not_json") from error
    _check_once(content)
    rows = content.get("instances") if isinstance(content, dict) else None
    if not isinstance(rows, list) or not rows:
        raise BadRequestError(
            'Expected {"instances": [{...}, ...]} with at least one row.', status=400, reason="rows", field="instances"
        )
    at_most = endpoint_limits().rows
    if len(rows) > at_most:
        raise BadRequestError(
            f"{len(rows)} rows in one request, at most {at_most} are taken: split it.",
            status=413,
            reason="rows",
            field="instances",
        )
    for number, row in enumerate(rows):
        if not isinstance(row, dict):
            raise BadRequestError(f"Row {number} is {_kind(row)}, expected an object.", field="instances", row=number)
        _check_once(row, number)
    return rows


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
        return f"is {_kind(value)}, expected a number or null"
    if value != value:  # noqa: PLR0124  only NaN is not itself
        return "is NaN, which is no number; send null if it is not known"
    if not -_FLOAT32_MAX <= value <= _FLOAT32_MAX:
        return "is too large for a 32-bit number"
    return None


def _check_text(value: Any) -> str | None:
    if not isinstance(value, str):
        return f"is {_kind(value)}, expected a string or null"
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
    raise BadRequestError(f"'{name}' is {_kind(value)}, expected a string that is not empty.", field=name, row=number)


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


def _kind(value: Any) -> str:
    kinds = {bool: "a boolean", str: "a string", list: "a list", dict: "an object", type(None): "null"}
    return kinds.get(type(value), "a number" if isinstance(value, int | float) else f"a {type(value).__name__}")


class _Doubled(dict[str, Any]):
    """An object in which a name stood more than once; nobody can say which value was meant."""

    twice = ""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) == len(pairs):
        return found
    doubled, seen = _Doubled(found), set[str]()
    doubled.twice = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
    return doubled


def _check_once(found: Any, row: int | None = None) -> None:
    if isinstance(found, _Doubled):
        raise BadRequestError(f"'{found.twice[:80]}' is there more than once.", field=found.twice[:80], row=row)


def _int(digits: str) -> int:
    # Python refuses thousands of digits without saying where; any number so long is refused by its field.
    return int(digits[:_MOST_DIGITS])
