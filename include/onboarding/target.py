"""This file guesses what kind of answer a column asks for: the learning task, and the column it needs. Pure."""

import re
from dataclasses import dataclass, field

from include.errors import ConfigError
from include.learning.metrics import TaskName
from include.onboarding.profile import Column

MOST_CLASSES = 100  # of text
MOST_NUMBERED_CLASSES = 20
_YES = ("yes", "y", "true", "t", "1")


@dataclass(frozen=True)
class Target:
    """What the model is to predict."""

    column: str  # of the clean table
    task: TaskName
    note: str
    derive: dict[str, str] = field(default_factory=dict)
    rules: dict[str, str] = field(default_factory=dict)


def target_of(column: Column) -> Target:
    """Guess the learning task of a column.

    :raises ConfigError: if nothing can be learned from it as it is.
    """
    seen = f"{column.distinct} different values in {column.rows - column.missing} rows"
    if column.distinct < 2:
        raise ConfigError(
            f"'{column.name}' holds {seen} of the sample: there is nothing to learn. Name another --target, or deliver "
            "days on which it differs."
        )
    if column.kind in {"date", "timestamp"}:
        raise ConfigError(
            f"'{column.name}' is a {column.kind}, which no model of Evergreen predicts. Deliver a number, such as the "
            "days until then, or a column that is true or false, and name that as --target."
        )
    if column.distinct == 2:
        return _binary(column)
    if column.is_number:
        return _of_numbers(column, seen)
    if column.distinct <= MOST_CLASSES:
        return Target(column.name, "multiclass", f"guessed: text, {seen}: which class is it ({_told(column)})")
    raise ConfigError(
        f"'{column.name}' is text with {seen}: too many for classes (at most {MOST_CLASSES}). Name another --target, "
        "or deliver a column with fewer names or with a number."
    )


def _binary(column: Column) -> Target:
    values = [value for value, _ in column.values]
    if column.kind == "boolean" or (column.is_number and {float(value) for value in values} == {0, 1}):
        return Target(column.name, "binary", "guessed: it holds two values: how likely is the one that is true")
    yes = next((value for value in values if value.lower() in _YES), values[-1])  # or the rarer of the two
    no = next(value for value in values if value != yes)
    written, other = (value if column.is_number else "'" + value.replace("'", "\\'") + "'" for value in (yes, no))
    name = f"{plain(column.name)}_is_{plain(yes).lstrip('_')}"
    note = f"guessed: '{column.name}' holds {values[0]} and {values[1]}: how likely is {yes}"
    source = quoted(column.name)
    rules = {f"{plain(column.name)}_is_known": f"{source} in ({written}, {other})"}
    return Target(name, "binary", note, {name: f"{source} = {written}"}, rules)


def _of_numbers(column: Column, seen: str) -> Target:
    if column.kind == "bigint" and column.distinct <= MOST_NUMBERED_CLASSES:
        note = f"guessed: whole numbers, only {seen}: which class is it; change to regression if they are amounts"
        return Target(column.name, "multiclass", note)
    return Target(column.name, "regression", f"guessed: numbers, {seen}: how much is it")


def plain(name: str) -> str:
    """Return a name made of letters, digits and underscores."""
    return re.sub(r"^(?=\d)", "_", re.sub(r"\W+", "_", name, flags=re.ASCII).strip("_")) or "_"


def quoted(name: str) -> str:
    """Return a name as Spark SQL takes it."""
    return name if re.fullmatch(r"[A-Za-z_]\w*", name, flags=re.ASCII) else "`" + name.replace("`", "``") + "`"


def _told(column: Column) -> str:
    names = ", ".join(value for value, _ in column.values[:6])
    return names + (", …" if column.distinct > 6 else "")
