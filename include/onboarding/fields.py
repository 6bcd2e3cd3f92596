"""This file decides what becomes of each delivered column: type, expression, rule, expectations, role. Pure."""

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from include.onboarding.profile import Column, Profile
from include.onboarding.target import plain, quoted
from include.pictures import LIKE_A_PICTURE, image_of
from include.pipeline import RESERVED, ColumnType
from include.recipe import Image

MOST_CATEGORIES = 100
FEWEST_WORDS = 3  # on average, in a column of sentences
MOST_EXPECTATIONS = 40
MOST_RULES = 6  # beyond that, one rule speaks for all columns
_NAMES_ROWS = re.compile(r"(^|[^a-z])(id|uuid|key|no|nr|number|index|row)$|Id$|ID$", re.IGNORECASE)

Expectation = dict[str, dict[str, Any]]


@dataclass
class Fields:
    """The parts of a YAML that speak of columns, with a note for what was guessed."""

    columns: dict[str, ColumnType] = field(default_factory=dict)
    derive: dict[str, str] = field(default_factory=dict)
    rules: dict[str, str] = field(default_factory=dict)
    drop: list[str] = field(default_factory=list)
    numeric: list[str] = field(default_factory=list)
    categorical: list[str] = field(default_factory=list)
    text: dict[str, dict[str, int]] = field(default_factory=dict)
    image: dict[str, dict[str, int]] = field(default_factory=dict)
    expectations: list[Expectation] = field(default_factory=list)
    notes: dict[str, str] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    never_negative: list[str] = field(default_factory=list)


def fields_of(events: Profile, date: str, *, skip: Iterable[str], leaks: Mapping[str, str]) -> Fields:
    """Decide on every column but those that have a role already.

    :param date: the clean table's column of days.
    :param leaks: columns that give the target away, each with how.
    """
    made = Fields()
    for column in events.columns.values():
        if column.name in skip:
            continue
        is_readable = is_text(column) or picture_of(column)
        why = leaks.get(column.name) or ("" if is_readable else useless(column))
        if why:
            made.left_out[column.name] = why
        else:
            name = _name_for(column.name, {*events.columns, *made.derive})
            _take(made, column, name, date, is_of_day=column.name in events.within_day)
    _add_rules(made)
    if len(made.expectations) > MOST_EXPECTATIONS:
        more = len(made.expectations) - MOST_EXPECTATIONS
        made.notes["expectations"] = f"{more} more would be of the same kind, for the columns that are not named here"
        made.expectations = made.expectations[:MOST_EXPECTATIONS]
    return made


def useless(column: Column) -> str:
    """Return why a column is no feature; "" if it is one."""
    if column.distinct == 0:
        return "is empty in all sampled rows"
    if column.is_constant and not column.missing:
        return f"is {column.values[0][0]!r} in all sampled rows"
    if column.kind == "string" and (column.distinct > MOST_CATEGORIES or column.distinct * 2 > column.rows):
        return f"is text with {column.distinct:,} different values in {column.rows:,} rows: an id, or free text"
    if column.is_key and _NAMES_ROWS.search(column.name):
        return "names each row, and says nothing else"
    return ""


def is_text(column: Column) -> bool:
    """Tell whether it holds sentences rather than names: several words a value, and hardly a value twice."""
    words = [len(value.split()) for value, _ in column.values]
    is_varied = column.distinct > MOST_CATEGORIES or column.distinct * 2 > column.rows
    is_list = any(value.lstrip().startswith("[") for value, _ in column.values)
    return column.kind == "string" and is_varied and not is_list and sum(words) >= FEWEST_WORDS * len(words) > 0


def picture_of(column: Column) -> Image | None:
    """Return what most of its pictures look like, as others are resized; None if it holds something else."""
    found = Counter(image_of(value) for value, _ in column.values) if column.kind == "string" else Counter()
    strange = found.pop(None, 0)
    return found.most_common(1)[0][0] if found.total() > 9 * strange else None


def _name_for(delivered: str, taken: set[str]) -> str:
    """Return the clean table's name for a delivered column: the same, if SQL and the model's files can live with it."""
    name = plain(delivered)
    if name == delivered and name not in RESERVED:
        return name
    while name in {*taken, *RESERVED}:
        name += "_"
    return name


def _take(made: Fields, column: Column, name: str, date: str, *, is_of_day: bool) -> None:
    source = quoted(column.name)
    made.columns[column.name] = "string" if column.markers else column.kind
    if column.strange:
        made.notes[f"cleaning.columns.{column.name}"] = (
            f"guessed: some values are none, such as {column.strange[0]!r}: such rows go to quarantine"
        )
    if column.markers:
        made.notes[f"cleaning.derive.{name}"] = f"{column.markers[0]!r} stands for missing here"
    if (expression := _expression(column, source)) != column.name:
        made.derive[name] = expression
    if name != column.name:
        made.drop.append(column.name)
    _take_as_feature(made, column, name, date)
    if is_of_day:
        made.rules[f"{name}_is_of_the_day"] = f"to_date({name}) = {date}"
    made.expectations += expectations_of(column, name)


def _expression(column: Column, source: str) -> str:
    """Return what makes the clean table's column of the delivered one."""
    if column.markers:
        source = f"try_cast({source} as {column.kind})"
    return f"cast({source} as double)" if column.kind == "boolean" else source  # the endpoint takes numbers and text


def _take_as_feature(made: Fields, column: Column, name: str, date: str) -> None:
    image = picture_of(column)
    match column.kind:
        case "string" if image:
            made.image[name] = image.model_dump(exclude_defaults=True)
            made.rules[f"{name}_is_a_picture"] = f"{name} like '[%' or {name} rlike '{LIKE_A_PICTURE}'"
        case "string" if is_text(column):
            made.text[name] = {}
            made.notes[f"training.features.text.{name}"] = "guessed: sentences; categories, if they are names"
        case "string":
            made.categorical.append(name)
        case "date":
            made.derive[f"{name}_days_before"] = f"cast(datediff({date}, {name}) as double)"
            made.numeric.append(f"{name}_days_before")
        case "timestamp":
            made.derive[f"{name}_hour"] = f"cast(hour({name}) as double)"
            made.numeric.append(f"{name}_hour")
        case _:
            made.numeric.append(name)
    if column.is_number and float(column.low or 0) >= 0:
        made.never_negative.append(name)


def expectations_of(column: Column, name: str) -> list[Expectation]:
    """Return what a day is held to: values are there, numbers in a widened range, names among those seen."""
    expected: list[Expectation] = []
    if column.most_missing < 0.5:
        # A single empty field does not make a bad day, even where the sample has none.
        mostly = min(0.95, math.floor((1 - 1.5 * column.most_missing) * 100) / 100)
        expected.append({"expect_column_values_to_not_be_null": {"column": name, "mostly": max(mostly, 0.1)}})
    if column.is_number:
        low, high = widened(float(column.low or 0), float(column.high or 0))
        about = {"column": name, "min_value": low, "max_value": high, "mostly": 0.95}
        expected.append({"expect_column_values_to_be_between": about})
    if column.kind == "string" and column.distinct == len(column.values):
        names = sorted(value for value, _ in column.values)
        expected.append({"expect_column_values_to_be_in_set": {"column": name, "value_set": names, "mostly": 0.9}})
    return expected


def widened(low: float, high: float) -> tuple[float, float]:
    """Return a range half as wide again on either side, in round numbers; what was never negative stays so."""
    room = (high - low) / 2 or abs(high) or 1.0
    wide_low, wide_high = _round(low - room, math.floor), _round(high + room, math.ceil)
    return (0 if low >= 0 else wide_low), (0 if high <= 0 else wide_high)


def _round(number: float, to: Any) -> float:
    """Return the number with two digits that count, rounded outwards."""
    unit = 10.0 ** (math.floor(math.log10(abs(number))) - 1) if number else 1.0
    found = round(to(number / unit) * unit, 12)
    return int(found) if found == int(found) else found


def _add_rules(made: Fields) -> None:
    names = made.never_negative
    if len(names) > MOST_RULES:
        made.rules["nothing_is_negative"] = f"least({', '.join(names)}) >= 0"
    else:
        made.rules |= {f"{name}_is_not_negative": f"{name} >= 0" for name in names}
    if names:
        made.notes["cleaning.rules"] = "guessed: what was never negative in the sample may not become so"
