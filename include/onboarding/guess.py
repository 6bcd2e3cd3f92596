"""This file guesses a whole pipeline from what deliveries look like: the YAML's content, with notes. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from include.errors import ConfigError
from include.learning.metrics import GATE_DEFAULT, GOVERNOR_DEFAULT
from include.onboarding.fields import Fields, fields_of
from include.onboarding.keys import day_of, key_of
from include.onboarding.profile import Column, Profile
from include.onboarding.size import Size, size_of
from include.onboarding.target import Target, target_of
from include.pipeline import ColumnType
from include.spelling import did_you_mean

MANY_EPOCHS, PATIENCE = 12, 5  # so many looks at few rows teach them by heart
WORSE_BY = 0.25  # of the target's spread: a day whose error has grown so much alarms


@dataclass(frozen=True)
class Asked:
    """What a person said."""

    name: str
    target: str
    events: str  # path as the YAML is to have it
    labels: str | None = None
    key: str | None = None
    date: str | None = None
    owner: str = "me"


@dataclass(frozen=True)
class Seen:
    """What was found in the files."""

    events: Profile
    labels: Profile | None
    label_key: str | None  # the labels' column that holds the events' key
    leaks: Mapping[str, str]


@dataclass(frozen=True)
class Guess:
    """A pipeline: the YAML's content; notes by dotted key; columns left out, each with why."""

    content: dict[str, Any]
    notes: dict[str, str]
    left_out: dict[str, str]
    target: Target


def target_column(asked: Asked, events: Profile, labels: Profile | None) -> Column:
    """Return the column to be predicted, the labels' if both have one of that name.

    :raises ConfigError: if there is none.
    """
    known = {**events.columns, **(labels.columns if labels else {})}
    if asked.target not in known:
        raise ConfigError(
            f"There is no column '{asked.target}' to predict. Columns found: {', '.join(known)}."
            f"{did_you_mean(asked.target, known)} Name it with --target."
        )
    return known[asked.target]


def guess(asked: Asked, seen: Seen) -> Guess:
    """Make a pipeline of what was asked for and seen.

    :raises ConfigError: if the target, the key or the date cannot be what was asked for.
    """
    events = seen.events
    key, key_note = key_of(asked.key, events)
    day, day_note = day_of(asked.date, events)
    target = target_of(target_column(asked, events, seen.labels))
    size = size_of(events)
    made = fields_of(events, day, skip={key, day, asked.target, *_outcomes(seen)}, leaks=seen.leaks)
    roles: dict[str, ColumnType] = {key: _key_type(key, seen)}
    if day in events.columns:
        roles[day] = "date"
    made.columns = roles | made.columns
    made.derive |= target.derive
    made.rules |= target.rules
    labels: dict[str, ColumnType] = {}
    if seen.labels is None:
        _take_target(made, events.columns[asked.target])
    elif seen.label_key:
        labels = {seen.label_key: roles[key], asked.target: _type(seen.labels.columns[asked.target])}
    content = {
        "description": f"What will '{asked.target}' be?",
        "owner": asked.owner,
        "schedule": {"cron": "0 5 * * *", "start": date.fromisoformat(events.days[-1]) + timedelta(days=1)},
        "key": key,
        "date": day,
        "source": _source(asked, seen, key),
        "cleaning": _cleaning(made, labels, key),
        "expectations": [_row_count(events), *made.expectations],
        **_learning(target, size, made, _spread(asked, seen)),
    }
    notes = {**made.notes, **_notes(seen, target, size, made), "key": key_note, "date": day_note}
    return Guess(content, {place: note for place, note in notes.items() if note}, made.left_out, target)


def _outcomes(seen: Seen) -> set[str]:
    return set(seen.labels.columns) - {seen.label_key or ""} if seen.labels else set()


def _key_type(key: str, seen: Seen) -> ColumnType:
    kinds = {seen.events.columns[key].kind}
    if seen.labels and seen.label_key:
        kinds.add(seen.labels.columns[seen.label_key].kind)
    return "bigint" if kinds == {"bigint"} else "string"


def _type(column: Column) -> ColumnType:
    return "string" if column.markers else column.kind


def _take_target(made: Fields, column: Column) -> None:
    made.columns[column.name] = _type(column)
    if column.markers and column.is_number:
        made.derive[column.name] = f"try_cast({column.name} as {column.kind})"


def _spread(asked: Asked, seen: Seen) -> float:
    return target_column(asked, seen.events, seen.labels).spread


def _source(asked: Asked, seen: Seen, key: str) -> dict[str, Any]:
    source: dict[str, Any] = {"events": {"path": asked.events}}
    if asked.labels and seen.labels:
        labels: dict[str, Any] = {"path": asked.labels}
        if seen.label_key != key:
            labels["key"] = seen.label_key
        if delay := delay_of(seen.events, seen.labels):
            labels["delay_days"] = delay
        source["labels"] = labels
    return source


def delay_of(events: Profile, labels: Profile) -> int:
    """Return how many days the newest labels are behind the newest events."""
    behind = date.fromisoformat(events.days[-1]) - date.fromisoformat(labels.days[-1])
    return max(behind.days, 0)


def _cleaning(made: Fields, labels: dict[str, ColumnType], key: str) -> dict[str, Any]:
    parts: dict[str, Any] = {
        "columns": made.columns,
        "labels": labels,
        "deduplicate": {"by": [key], "order": ["source_row desc"]},
        "derive": made.derive,
        "rules": made.rules,
        "drop": made.drop,
    }
    return {name: part for name, part in parts.items() if part}


def _row_count(events: Profile) -> dict[str, dict[str, Any]]:
    fewest, most = min(events.rows_by_day.values()), max(events.rows_by_day.values())
    return {"expect_table_row_count_to_be_between": {"min_value": max(1, fewest // 2), "max_value": most * 2}}


def _learning(target: Target, size: Size, made: Fields, spread: float) -> dict[str, Any]:
    features = {"numeric": made.numeric, "categorical": made.categorical, "text": made.text, "image": made.image}
    drop = {"regression": _two_digits(WORSE_BY * spread)}.get(target.task, 0.1)
    return {
        "training": {
            "target": target.column,
            "task": target.task,
            "window_days": size.window_days,
            "holdout_days": size.holdout_days,
            "min_rows": size.min_rows,
            "epochs": size.epochs,
            **({"patience": PATIENCE} if size.epochs > MANY_EPOCHS else {}),
            "features": {kind: names for kind, names in features.items() if names},
        },
        "gate": {"metric": GATE_DEFAULT[target.task]},
        "governor": {
            "metric": GOVERNOR_DEFAULT[target.task],
            "max_quality_drop": drop,
            "min_rows": size.judged_rows,
        },
    }


def _two_digits(number: float) -> float:
    found = float(f"{number:.2g}")
    return int(found) if found == int(found) else found


def _notes(seen: Seen, target: Target, size: Size, made: Fields) -> dict[str, str]:
    events = seen.events
    sampled = sorted(events.rows_by_day)
    ranges = f"from {len(sampled)} of {len(events.days)} days, {sampled[0]} to {sampled[-1]}, widened"
    notes = {
        "owner": "whose it is; shown in Airflow",
        "schedule.start": "the day after the newest one there is; earlier days are ingested by hand",
        "cleaning.deduplicate": "of rows with the same key the last delivered stays",
        "expectations": ", ".join(filter(None, (ranges, made.notes.get("expectations")))),
        "training.target": target.note,
        "training.features": "guessed: whatever says anything; remove what is not known when a prediction is asked for",
        "training.window_days": f"guessed: {events.rows_per_day:,} rows a day",
        "training.holdout_days": f"guessed: of {len(events.days)} days; they decide at the gate",
        "training.epochs": "guessed: the fewer rows, the more often they are looked at",
        "training.patience": "guessed: epochs without a gain on the window's newest days, after which it ends",
        "governor.min_rows": "half a usual day",
    }
    if target.task == "regression":
        notes["governor.max_quality_drop"] = f"guessed: {WORSE_BY:.0%} of the target's standard deviation"
    if seen.labels and delay_of(events, seen.labels):
        notes["source.labels.delay_days"] = f"guessed: the newest labels are of {seen.labels.days[-1]}"
    if size.holdout_days > len(events.days) // 4:
        notes["training.holdout_days"] += "; lower it as days gather"
    return notes
