"""This file finds the column that names an event once and for all, and the one that says its day. Pure."""

import re

import pyarrow as pa
import pyarrow.compute as pc

from include.errors import ConfigError
from include.ingestion.reading import SOURCE
from include.onboarding.profile import Profile
from include.pipeline import ColumnType
from include.spelling import did_you_mean

NEARLY_ALL = 0.99  # of the rows: a key may have come twice
FEWEST_MATCHES = 0.5  # of the labels
_LIKE_A_NAME = re.compile(r"id|key|uuid|number|code|^no$|ref", re.IGNORECASE)


def key_of(asked: str | None, events: Profile) -> tuple[str, str]:
    """Return the key and a note on how it was found.

    :raises ConfigError: if no column can be it.
    """
    if asked is not None:
        return _as_asked(asked, events)
    exact = [each for each in events.columns.values() if each.is_key]
    nearly = [
        each
        for each in events.columns.values()
        if each.kind in {"string", "bigint"} and not each.missing and _LIKE_A_NAME.search(each.name)
        and NEARLY_ALL * each.rows <= each.distinct < each.rows
    ]  # fmt: skip
    found = sorted(exact, key=lambda each: (not _LIKE_A_NAME.search(each.name), each.kind != "string")) or nearly
    if not found:
        raise ConfigError(_no_key(events))
    key = found[0]
    if key in nearly:
        return key.name, f"guessed: {key.rows - key.distinct} of {key.rows:,} sampled rows repeat one; the last stays"
    others = f"; so are {', '.join(each.name for each in found[1:4])}" if found[1:] else ""
    return key.name, f"guessed: different in all {key.rows:,} sampled rows{others}"


def day_of(asked: str | None, events: Profile) -> tuple[str, str]:
    """Return the name of the clean table's column of days and a note on how it was found.

    :raises ConfigError: if the column asked for is not the delivery's day.
    """
    if asked is not None and asked not in events.columns:
        guess = did_you_mean(asked, events.columns)
        raise ConfigError(f"There is no column '{asked}'. Columns found: {', '.join(events.columns)}.{guess}")
    if asked is not None and asked not in events.own_day:
        seen = events.columns[asked]
        held = ", ".join(value for value, _ in seen.values[:3])
        raise ConfigError(
            f"'{asked}' ({seen.kind}: {held}) does not hold the day of its file, YYYY-MM-DD, in every row. Leave "
            "--date out: the day in the file's name is taken."
        )
    if asked or events.own_day:
        name = asked or events.own_day[0]
        return name, "" if asked else "guessed: holds the day of its file in every sampled row"
    name = next(each for each in ("day", "delivery_day", "evergreen_day") if not _is_taken(each, events))
    return name, "no column holds it: the day in the file's name is taken"


def label_key_of(key: str, kind: ColumnType, events: pa.Table, labels: pa.Table) -> str:
    """Return the labels' column that holds the events' key: the one of the same name, or whose values are the key's.

    :raises ConfigError: if no column does.
    """
    shares = {
        name: pc.mean(pc.cast(pc.is_in(labels[name], events[key].combine_chunks()), pa.float64())).as_py() or 0.0
        for name in sorted(set(labels.column_names) - set(SOURCE), key=lambda name: (name != key, name))
    }
    best = key if shares.get(key, 0) >= FEWEST_MATCHES else max(shares, key=lambda name: shares[name])
    if shares[best] < FEWEST_MATCHES:
        raise ConfigError(
            f"The labels have no column with the events' key '{key}' ({kind}, such as {events[key][0].as_py()}): at "
            f"most {shares[best]:.0%} of '{best}' are known events. Have the labels delivered with that key, on the "
            "day of their events, or name another with --key."
        )
    return best


def _as_asked(asked: str, events: Profile) -> tuple[str, str]:
    if asked not in events.columns:
        guess = did_you_mean(asked, events.columns)
        raise ConfigError(f"There is no column '{asked}' for a key. Columns found: {', '.join(events.columns)}.{guess}")
    column = events.columns[asked]
    if not column.distinct >= NEARLY_ALL * column.rows:
        raise ConfigError(
            f"'{asked}' is no key: {column.rows:,} sampled rows have {column.distinct:,} different values and "
            f"{column.missing:,} gaps. {_advice(events)}"
        )
    repeated = column.rows - column.distinct
    return asked, f"{repeated} of {column.rows:,} sampled rows repeat one; the last stays" if repeated else ""


def _no_key(events: Profile) -> str:
    nearest = max(events.columns.values(), key=lambda each: each.distinct if each.kind in {"string", "bigint"} else 0)
    return (
        f"No column names each row once: the nearest is '{nearest.name}' with {nearest.distinct:,} different values in "
        f"{nearest.rows:,} rows. {_advice(events)}"
    )


def _advice(events: Profile) -> str:
    again = [name for name in events.unique_by_day if events.columns[name].kind in {"string", "bigint"}]
    starts_over = f"'{again[0]}' starts over every day: put the day in front of it. " if again else ""
    return (
        f"Labels, predictions and corrections find an event by its key. {starts_over}Have the deliverer add a column "
        "such as <day>-<number of the order>. A row's number in the file is no key: it changes when a day is delivered "
        "again in another order."
    )


def _is_taken(name: str, events: Profile) -> bool:
    return name in events.columns or bool(did_you_mean(name, events.columns))
