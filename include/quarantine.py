"""This file takes quarantined rows on their round trip: counted, exported for a person to repair, delivered again."""

import csv
import io
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import pyarrow.parquet as pq
from rich.markup import escape
from rich.table import Table

from include.atomic import write_text
from include.errors import BadDeliveryError
from include.ingestion.delivery import landed_days
from include.ingestion.reading import MALFORMED, SOURCE_DAY, SOURCE_FILE, SOURCE_ROW
from include.ingestion.repairs import KIND, POSITION, keep_repair, read_repair, repaired_positions
from include.ledger import nights, open_ledger
from include.pipeline import Pipeline
from include.settings import load_settings
from include.spelling import did_you_mean

RULES = "rules"
MOST_DAYS = 5  # named in a sentence


@dataclass(frozen=True)
class Quarantined:
    """One row that is not in the clean table, and where it stands in its delivery."""

    day: str
    kind: str  # events | labels
    file: str
    row: int
    rules: tuple[str, ...]
    values: dict[str, str | None]  # the delivered text; the whole line as `malformed`, if it could not be taken apart

    @property
    def position(self) -> tuple[str, str, int]:
        """Return what the row is known by within its day."""
        return self.kind, self.file, self.row


def quarantined(pipeline: Pipeline, *, day: str | None = None, rule: str | None = None) -> list[Quarantined]:
    """Return the rows that the newest ingest of each day has put aside, in the order of the deliveries."""
    with open_ledger() as session:
        runs = {row.day: row.run_key for row in nights.partitions_of(session, pipeline.name)}
    days = sorted(runs) if day is None else [day] if day in runs else []
    found = (each for name in days for each in rows_of_run(pipeline.name, name, runs[name]))
    return [each for each in found if rule is None or rule in each.rules]


def rows_of_run(pipeline_name: str, day: str, run_key: str) -> Iterable[Quarantined]:
    """Return what one run has put aside of a day."""
    folder = load_settings().lake / pipeline_name / "quarantine" / f"run={run_key}" / f"day={day}"
    for path in sorted(folder.glob("*.parquet")):
        for row in pq.ParquetFile(path).read().to_pylist():
            values = json.loads(row["row"])
            yield Quarantined(day, row[KIND], row[SOURCE_FILE], row[SOURCE_ROW], tuple(row[RULES]), values)


def num_repaired(pipeline: Pipeline, day: str, run_key: str) -> int:
    """Return how many rows of a day a run has taken in repaired: those delivered again and not put aside again.

    Repairs of a file that was since delivered anew as a whole do not count: they were not taken in.
    """
    repaired = repaired_positions(pipeline.name, day)
    if not repaired:
        return 0
    landed = _landed_files(pipeline, day, run_key)
    bad = {each.position for each in rows_of_run(pipeline.name, day, run_key)}
    return len({each for each in repaired if each[1] in landed} - bad)


def export(pipeline: Pipeline, day: str, path: Path) -> int:
    """Write a day's quarantined rows to a CSV that a person can repair, and return their number.

    :raises BadDeliveryError: if nothing of that day is in quarantine.
    """
    rows = quarantined(pipeline, day=day)
    if not rows:
        raise BadDeliveryError(
            f"Nothing of {day} is in quarantine. `evergreen quarantine list {pipeline.name}` shows the days that have "
            "rows."
        )
    text = io.StringIO()
    columns = dict.fromkeys([*pipeline.cleaning.columns, *pipeline.cleaning.labels])
    writer = csv.DictWriter(text, [*POSITION, RULES, MALFORMED, *columns], restval="", extrasaction="ignore")
    writer.writeheader()
    for each in rows:
        place = {KIND: each.kind, SOURCE_DAY: each.day, SOURCE_FILE: each.file, SOURCE_ROW: each.row}
        writer.writerow({**each.values, **place, RULES: " ".join(each.rules)})
    write_text(path, text.getvalue())
    return len(rows)


def redeliver(pipeline: Pipeline, path: Path) -> dict[str, int]:
    """Deliver repaired rows: keep the file beside each of its days' deliveries; return the number of rows by day.

    :raises BadDeliveryError: if the file is not readable, or has a row that was never in quarantine.
    """
    rows = read_repair(path)
    if not rows:
        raise BadDeliveryError(f"{path}: has no rows. Leave in the file what you have repaired.")
    for day in sorted({row[SOURCE_DAY] for row in rows}):
        _check_known(pipeline, day, path, [row for row in rows if row[SOURCE_DAY] == day])
    counts = Counter(row[SOURCE_DAY] for row in rows)
    for day in sorted(counts):
        keep_repair(pipeline.name, day, path.read_bytes())
    return dict(sorted(counts.items()))


def list_view(rows: Sequence[Quarantined]) -> Table:
    """Return the rows counted by day, kind and rule, with the first places they stand at."""
    places: dict[tuple[str, str, str], list[str]] = {}
    for each in rows:
        for rule in each.rules:
            places.setdefault((each.day, each.kind, rule), []).append(f"{each.file} row {each.row}")
    table = Table("day", "of", "rule", "rows", "where", box=None)
    for (day, kind, rule), found in sorted(places.items()):
        more = f" and {len(found) - 3} more" if len(found) > 3 else ""
        table.add_row(day, kind, escape(rule), str(len(found)), escape("\n".join(found[:3]) + more))
    return table


def nothing_found(rows: Sequence[Quarantined], day: str | None, rule: str | None) -> str:
    """Return a sentence on what is in quarantine, where none of it is of the day and rule asked for."""
    if not rows:
        return "Nothing is in quarantine."
    asked = " ".join([f"of {day}"] * (day is not None) + [f"by the rule '{rule}'"] * (rule is not None))
    days = sorted({each.day for each in rows})
    more = f" and {len(days) - MOST_DAYS} days before" if len(days) > MOST_DAYS else ""
    rules = Counter(name for each in rows for name in each.rules)
    by_rule = ", ".join(f"'{name}' ({number})" for name, number in sorted(rules.items()))
    guess = did_you_mean(rule, rules) if rule is not None and rule not in rules else ""
    return (
        f"Nothing {asked} is in quarantine. There are {len(rows)} rows: of {', '.join(days[-MOST_DAYS:])}{more}; by "
        f"the rules {by_rule}.{guess}"
    )


def _check_known(pipeline: Pipeline, day: str, path: Path, rows: Sequence[dict[str, str]]) -> None:
    try:
        date.fromisoformat(day)
    except ValueError as error:
        raise BadDeliveryError(
            f"{path}: '{SOURCE_DAY}' is {day!r}, expected YYYY-MM-DD as exported. Has a spreadsheet rewritten "
            "the dates?"
        ) from error
    # What was repaired before may be repaired again, also once it is no longer in quarantine.
    known = {each.position for each in quarantined(pipeline, day=day)} | repaired_positions(pipeline.name, day)
    for row in rows:
        position = row[KIND], row[SOURCE_FILE], int(row[SOURCE_ROW])
        if position not in known:
            raise BadDeliveryError(
                f"{path}: {row[KIND]} {row[SOURCE_FILE]} row {row[SOURCE_ROW]} of {day} is not in quarantine. Export "
                "the day again: it may have been delivered anew since."
            )


def _landed_files(pipeline: Pipeline, day: str, run_key: str) -> set[str]:
    listed = landed_days(pipeline, run_key).get(day, {})
    paths = [path for kind in listed.values() for path in kind]
    columns = (pq.ParquetFile(path).read(columns=[SOURCE_FILE])[SOURCE_FILE] for path in paths)
    return {name for column in columns for name in column.unique().to_pylist()}
