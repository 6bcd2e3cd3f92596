"""This file describes deliveries nobody has described yet: each column's kind, gaps, values and range. Pure."""

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

from include.ingestion.reading import SOURCE
from include.pipeline import ColumnType

# What people write where they know nothing; only in a column that otherwise holds no text.
MARKERS = ("NA", "N/A", "n/a", "NaN", "nan", "NULL", "null", "None", "none", "?", "-", "--", ".")
MOST_STRANGE = 0.01  # share of values of another kind that a column's kind outlives: they are for the quarantine
NUM_EXAMPLES = 12

_NUMBER = r"^\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*$"
# Tried in this order. A number with a leading nought is the name of something, such as a postal code.
PATTERNS: dict[ColumnType, str] = {
    "boolean": r"^(?i:true|false)$",
    "date": r"^\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])$",
    "timestamp": r"^\d{4}-\d\d-\d\d[ T]\d\d:\d\d(:\d\d(\.\d{1,9})?)?\s*(Z|UTC|[+-]\d\d(:?\d\d)?)?$",
    "bigint": r"^\s*[+-]?(0|[1-9]\d{0,17})\s*$",
    "double": _NUMBER,
}
_NAME_OF_SOMETHING = r"^[+-]?0\d"


@dataclass(frozen=True)
class Column:
    """What one column holds, over all sampled rows."""

    name: str
    kind: ColumnType
    rows: int
    missing: int  # empty fields and markers
    distinct: int
    low: float | str | None = None  # of numbers, and of text that is a date or a moment
    high: float | str | None = None
    mean: float = 0.0
    spread: float = 0.0
    values: tuple[tuple[str, int], ...] = ()  # the most frequent, each with its rows
    markers: tuple[str, ...] = ()
    strange: tuple[str, ...] = ()  # values that are not of this kind
    most_missing: float = 0.0  # share, on the day that misses most

    @property
    def is_number(self) -> bool:
        """Return whether it can be calculated with."""
        return self.kind in {"bigint", "double"}

    @property
    def missing_share(self) -> float:
        """Return the share of rows without a value."""
        return self.missing / self.rows if self.rows else 1.0

    @property
    def is_constant(self) -> bool:
        """Return whether every row says the same."""
        return self.distinct <= 1

    @property
    def is_key(self) -> bool:
        """Return whether it names each row, and nothing else twice."""
        return self.kind in {"string", "bigint"} and self.rows > 1 and not self.missing and self.distinct == self.rows


@dataclass(frozen=True)
class Profile:
    """What one kind of delivery, events or labels, looks like on the sampled days."""

    days: tuple[str, ...]  # all that are there
    rows_by_day: Mapping[str, int]  # of the sampled days
    columns: Mapping[str, Column]
    malformed: int = 0
    own_day: tuple[str, ...] = ()  # columns of dates that are the delivery's day in every row
    within_day: tuple[str, ...] = ()  # columns of moments within the delivery's day in every row
    unique_by_day: tuple[str, ...] = ()  # columns that name a row within its day only
    tells: Mapping[str, str] = field(default_factory=dict)  # columns that know the target: how

    @property
    def rows(self) -> int:
        """Return the number of sampled rows."""
        return sum(self.rows_by_day.values())

    @property
    def rows_per_day(self) -> int:
        """Return the median number of rows of a sampled day."""
        counts = sorted(self.rows_by_day.values())
        return counts[len(counts) // 2]


def sample_of(days: list[str], most: int = 12) -> list[str]:
    """Return the oldest, the newest and evenly spaced days between."""
    if len(days) <= most:
        return days
    return [days[round(number * (len(days) - 1) / (most - 1))] for number in range(most)]


def profile(tables: Mapping[str, pa.Table], all_days: Iterable[str]) -> Profile:
    """Describe a sample of deliveries.

    :param tables: rows as `ingestion.reading.read` gives them, all text, by day.
    """
    rows = pa.concat_tables(tables.values(), promote_options="default")
    malformed = rows["malformed"].is_valid()
    good = rows.filter(pc.invert(malformed))
    names = [name for name in rows.column_names if name not in SOURCE]
    columns = {name: describe(name, good[name], good["source_day"]) for name in names}
    return Profile(
        days=tuple(all_days),
        rows_by_day={day: len(table) for day, table in tables.items()},
        columns=columns,
        malformed=int(pc.sum(malformed).as_py() or 0),
        own_day=tuple(name for name, each in columns.items() if each.kind == "date" and _is_own_day(good, name)),
        within_day=tuple(
            name for name, each in columns.items() if each.kind == "timestamp" and _is_own_day(good, name)
        ),
        unique_by_day=tuple(
            name for name, each in columns.items() if not each.is_key and not each.missing and _names_rows(good, name)
        ),
    )


def describe(name: str, texts: pa.ChunkedArray, days: pa.ChunkedArray) -> Column:
    """Describe a column of text."""
    counts = pc.value_counts(texts.drop_null())
    found = sorted(((each["values"].as_py(), each["counts"].as_py()) for each in counts), key=lambda pair: -pair[1])
    markers = _markers(found)
    values = [(value, count) for value, count in found if value not in markers]
    kind, strange = _kind(values)
    is_missing = pc.is_in(texts, pa.array([*markers, None], pa.string()))
    numbers = _moments_of_numbers(texts, kind)
    ends = (min((value for value, _ in values), default=None), max((value for value, _ in values), default=None))
    low, high = numbers[:2] if numbers else ends if kind in {"date", "timestamp"} else (None, None)
    return Column(
        name=name,
        kind=kind,
        rows=len(texts),
        missing=int(pc.sum(is_missing).as_py() or 0),
        distinct=len(values),
        low=low,
        high=high,
        mean=numbers[2] if numbers else 0.0,
        spread=numbers[3] if numbers else 0.0,
        values=tuple(values[:NUM_EXAMPLES]),
        markers=markers,
        strange=strange,
        most_missing=_most_missing(is_missing, days),
    )


def numbers_of(texts: pa.ChunkedArray, kind: ColumnType) -> pa.ChunkedArray:
    """Return a column of numbers or booleans as numbers; null where the text is neither."""
    is_number = pc.match_substring_regex(texts, PATTERNS[kind])
    if kind == "boolean":
        return pc.if_else(is_number, pc.cast(pc.equal(pc.utf8_lower(texts), "true"), pa.float64()), None)
    return pc.cast(pc.if_else(is_number, pc.utf8_trim_whitespace(texts), None), pa.float64())


def _kind(values: Collection[tuple[str, int]]) -> tuple[ColumnType, tuple[str, ...]]:
    """Return the first kind that nearly all values are of, and examples of the others."""
    if not values:
        return "string", ()
    texts = pa.array([value for value, _ in values])
    counts = pa.array([count for _, count in values])
    rows = pc.sum(counts).as_py()
    is_name = any(re.match(_NAME_OF_SOMETHING, value) and "." not in value for value, _ in values)
    for kind, pattern in PATTERNS.items():
        fits = pc.match_substring_regex(texts, pattern)
        strange = rows - (pc.sum(pc.if_else(fits, counts, 0)).as_py() or 0)
        if strange <= MOST_STRANGE * rows and not (is_name and kind in {"bigint", "double"}):
            return kind, tuple(texts.filter(pc.invert(fits)).to_pylist()[:3])
    return "string", ()


def _markers(found: Collection[tuple[str, int]]) -> tuple[str, ...]:
    """Return the texts that stand for a missing value: those that keep a column from being of a kind."""
    seen = tuple(value for value, _ in found if value in MARKERS)
    others = [(value, count) for value, count in found if value not in MARKERS]
    return seen if seen and others and _kind(others)[0] != "string" else ()


def _moments_of_numbers(texts: pa.ChunkedArray, kind: ColumnType) -> tuple[float, float, float, float] | None:
    if kind not in {"bigint", "double"}:
        return None
    numbers = numbers_of(texts, kind)
    ends = pc.min_max(numbers)
    return ends["min"].as_py(), ends["max"].as_py(), pc.mean(numbers).as_py(), pc.stddev(numbers).as_py()


def _is_own_day(rows: pa.Table, name: str) -> bool:
    day = pc.utf8_slice_codeunits(rows[name], 0, 10)
    return bool(pc.all(pc.fill_null(pc.equal(day, rows["source_day"]), fill_value=True)).as_py())


def _names_rows(rows: pa.Table, name: str) -> bool:
    return len(rows) > 1 and len(rows.group_by(["source_day", name]).aggregate([])) == len(rows)


def _most_missing(is_missing: pa.ChunkedArray, days: pa.ChunkedArray) -> float:
    table = pa.table({"day": days, "missing": pc.cast(is_missing, pa.float64())})
    return max(table.group_by("day").aggregate([("missing", "mean")])["missing_mean"].to_pylist(), default=0.0)
