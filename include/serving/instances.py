"""This file turns a request's body into columns, and says which field of which row is wrong."""

import json
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from typing import Any

from include.errors import BadRequestError
from include.pipeline import Features

MAX_ROWS = 10_000
_FLOAT32_MAX = 3.4e38


@dataclass(frozen=True)
class Instances:
    """The rows of one request, by column."""

    keys: list[str | int]
    days: list[str | None]
    columns: dict[str, list[Any]]


def read_instances(body: bytes, *, key: str, day: str, features: Features) -> Instances:
    """Check a body of the form `{"instances": [{feature: value, ...}, ...]}` and return its columns.

    Every feature must be there (null is a value); further fields are ignored; the key and the date may be left out.

    :raises BadRequestError: naming the field and the row.
    """
    rows = _rows_of(body)
    columns = {name: [_float(value) for value in _column(rows, name, _check_number)] for name in features.numeric}
    columns |= {name: _column(rows, name, _check_text) for name in features.categorical}
    return Instances(
        keys=[_key_of(row.get(key), key, number) for number, row in enumerate(rows)],
        days=[_day_of(row.get(day), day, number) for number, row in enumerate(rows)],
        columns=columns,
    )


def _rows_of(body: bytes) -> list[dict[str, Any]]:
    try:
        content = json.loads(body, parse_constant=_refuse_constant)
    except RecursionError as error:
        raise BadRequestError("The body is nested too deeply.", status=400) from error
    except ValueError as error:
        raise BadRequestError(f"The body is not JSON: {error}", status=400) from error
    rows = content.get("instances") if isinstance(content, dict) else None
    if not isinstance(rows, list) or not rows:
        raise BadRequestError(
            'Expected {"instances": [{...}, ...]} with at least one row.', status=400, field="instances"
        )
    if len(rows) > MAX_ROWS:
        raise BadRequestError(
            f"{len(rows)} rows in one request, at most {MAX_ROWS} are taken: split it.", status=413, field="instances"
        )
    for number, row in enumerate(rows):
        if not isinstance(row, dict):
            raise BadRequestError(f"Row {number} is {_kind(row)}, expected an object.", field="instances", row=number)
    return rows


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
    if not -_FLOAT32_MAX <= value <= _FLOAT32_MAX:
        return "is too large for a 32-bit number"
    return None


def _check_text(value: Any) -> str | None:
    if not isinstance(value, str):
        return f"is {_kind(value)}, expected a string or null"
    if not value.isascii() and not _is_encodable(value):
        return "holds half a surrogate pair, which is not text"
    return None


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
    try:
        if isinstance(value, str) and date.fromisoformat(value).isoformat() == value:
            return value
    except ValueError:
        pass
    raise BadRequestError(f"'{name}' is {str(value)[:40]!r}, expected a date as YYYY-MM-DD.", field=name, row=number)


def _is_encodable(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _kind(value: Any) -> str:
    kinds = {bool: "a boolean", str: "a string", list: "a list", dict: "an object", type(None): "null"}
    return kinds.get(type(value), "a number")


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON; send null for a missing number")
