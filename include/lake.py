"""This file keeps one Iceberg table of clean rows per pipeline: publish, read, tag, expire."""

import json
import logging
import time
import warnings
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pyiceberg.exceptions import CommitFailedException, ValidationException
from pyiceberg.expressions import AlwaysTrue
from pyiceberg.io.pyarrow import ArrowScan
from pyiceberg.table import FileScanTask, Table
from pyiceberg.table.snapshots import Snapshot

from include import published
from include.atomic import writing
from include.catalog import open_table, table_for
from include.config import load_pipeline
from include.errors import NotEnoughDataError, PublishError
from include.filesystems import location_of
from include.pipeline import Pipeline

log = logging.getLogger(__name__)

STAGED = "evergreen.staged"
ATTEMPTS = 5


def publish(pipeline: Pipeline, staged_uri: str, days: list[str]) -> tuple[str, int]:
    """Make staged days the table's, by one transaction, and return the snapshot's id and the rows published.

    Publishing the same staged folder again does nothing and returns what the first time gave.

    :raises PublishError: if what then stands in the table is not what was staged.
    """
    staged = json.loads(Path(staged_uri).read_text())
    expected = {day: int(staged["days"][day]["rows"]) for day in days}
    files = [name for day in days for name in staged["days"][day]["files"]]
    rows = sum(expected.values())
    if not files:
        raise PublishError(f"{staged_uri}: nothing was staged for {days}. Clean these days again before publishing.")
    kept = [published.kept_as(pipeline.name, staged["folder"], path) for path in files]
    for attempt in range(1, ATTEMPTS + 1):
        table = table_for(pipeline, files[0])
        if done := _published_as(table, staged["folder"]):
            log.info("%s is already published as snapshot %s", staged["folder"], done.snapshot_id)
            return str(done.snapshot_id), rows
        try:
            if attempt == 1:
                published.take_there(files, kept)
            _replace_days(table, pipeline.date, days, kept, staged["folder"])
            break
        except (CommitFailedException, ValidationException) as error:
            if attempt == ATTEMPTS:
                raise PublishError(
                    f"{pipeline.name}: {ATTEMPTS} attempts to publish {days} met other commits: {error}"
                ) from error
            log.warning("Publishing met another commit, attempt %s of %s: %s", attempt, ATTEMPTS, error)
            time.sleep(0.2 * attempt)
    snapshot = _published_as(table, staged["folder"])
    if snapshot is None:
        raise PublishError(f"{pipeline.name}: the commit of {staged['folder']} left no snapshot. Publish again.")
    _check_rows(table, pipeline.date, expected, snapshot.snapshot_id)
    log.info("Published %s rows of %s days as snapshot %s", rows, len(days), snapshot.snapshot_id)
    return str(snapshot.snapshot_id), rows


def days_from(pipeline_name: str, folder: str, days: Iterable[str]) -> set[str]:
    """Return those of the days whose rows in the table, as it stands now, come from a staged folder."""
    pipeline, table = load_pipeline(pipeline_name), open_table(pipeline_name)
    if table is None or not (wanted := list(days)):
        return set()
    files = table.scan(row_filter=_any_of(pipeline.date, wanted)).plan_files()
    place = location_of(published.kept_as(pipeline_name, folder, folder))
    return {_day_of(task.file.partition[0]) for task in files if location_of(task.file.file_path).is_relative_to(place)}


def read_clean(
    pipeline_name: str, first: str, last: str, columns: list[str], snapshot_id: str | None = None
) -> pa.Table:
    """Return columns of the clean rows of a range of days, both included, in the order of days and keys.

    :raises NotEnoughDataError: if nothing was published yet.
    """
    pipeline, table = load_pipeline(pipeline_name), _published_table(pipeline_name)
    order = [pipeline.date, pipeline.key]
    scan = table.scan(
        row_filter=f"{pipeline.date} >= '{first}' and {pipeline.date} <= '{last}'",
        selected_fields=tuple(dict.fromkeys([*columns, *order])),
        snapshot_id=int(snapshot_id) if snapshot_id else None,
    )
    rows = scan.to_arrow()
    return rows.take(pc.sort_indices(rows, sort_keys=[(name, "ascending") for name in order])).select(columns)


def clean_days(
    pipeline_name: str, first: str, last: str, columns: list[str], snapshot_id: str | None = None
) -> Iterator[tuple[str, pa.Table]]:
    """Yield each day of a range with columns of its clean rows, in the order of keys; one day is in memory at a time.

    :raises NotEnoughDataError: if nothing was published yet.
    """
    pipeline, table = load_pipeline(pipeline_name), _published_table(pipeline_name)
    scan = table.scan(
        row_filter=f"{pipeline.date} >= '{first}' and {pipeline.date} <= '{last}'",
        selected_fields=tuple(dict.fromkeys([*columns, pipeline.key])),
        snapshot_id=int(snapshot_id) if snapshot_id else None,
    )
    files: dict[str, list[FileScanTask]] = {}
    for task in scan.plan_files():
        files.setdefault(_day_of(task.file.partition[0]), []).append(task)
    reader = ArrowScan(table.metadata, table.io, scan.projection(), AlwaysTrue())
    for day in sorted(files):
        yield day, reader.to_table(files[day]).sort_by(pipeline.key).select(columns)


def clean_files(pipeline_name: str) -> tuple[pa.Schema, dict[str, dict[str, int]]]:
    """Return the table's columns, and by day the URIs of its files as it stands now, each with its number of rows.

    For who reads them in parallel: once replaced, they stay for another `retention.snapshots_days`.

    :raises NotEnoughDataError: if nothing was published yet.
    """
    table = _published_table(pipeline_name)
    files: dict[str, dict[str, int]] = defaultdict(dict)
    for task in table.scan().plan_files():
        files[_day_of(task.file.partition[0])][task.file.file_path] = task.file.record_count
    return table.schema().as_arrow(), {day: files[day] for day in sorted(files)}


def current_snapshot(pipeline_name: str) -> str | None:
    """Return the id of the table's newest snapshot, or none if nothing was published."""
    table = open_table(pipeline_name)
    snapshot = table.current_snapshot() if table else None
    return str(snapshot.snapshot_id) if snapshot else None


def tag_snapshot(pipeline_name: str, snapshot_id: str, tag: str) -> None:
    """Name a snapshot so that expiry keeps it; naming it again the same way does nothing."""
    for attempt in range(1, ATTEMPTS + 1):
        table = open_table(pipeline_name)
        if table is None:
            raise NotEnoughDataError(f"{pipeline_name}: no clean table, so no snapshot {snapshot_id} to tag '{tag}'.")
        known = table.refs().get(tag)
        if known and known.snapshot_id == int(snapshot_id):
            return
        try:
            table.manage_snapshots().create_tag(int(snapshot_id), tag).commit()
        except CommitFailedException:
            if attempt == ATTEMPTS:
                raise
            time.sleep(0.2 * attempt)
        else:
            return


def untag_snapshot(pipeline_name: str, tag: str) -> None:
    """Take a snapshot's name away, so that expiry may remove it; without such a name nothing is done."""
    table = open_table(pipeline_name)
    if table is not None and tag in table.refs():
        table.manage_snapshots().remove_tag(tag).commit()


def forget_days(pipeline: Pipeline, first_kept: str) -> None:
    """Take the days before one out of the clean table; their files go once no snapshot holds them any more."""
    table = open_table(pipeline.name)
    older = f"{pipeline.date} < '{first_kept}'"
    if table is not None and any(table.scan(row_filter=older).plan_files()):
        table.delete(older)


def expire(pipeline_name: str, older_than_days: int, now: datetime | None = None) -> dict[str, int]:
    """Forget old snapshots without a tag, and remove the files of that age which no snapshot left needs.

    The age protects what a running ingest has staged and not yet published: keep it above a run's time-out.

    :returns: how many snapshots, staged folders and metadata files were removed.
    """
    table = open_table(pipeline_name)
    if table is None:
        return {"snapshots": 0, "folders": 0, "metadata_files": 0}
    cutoff = (now or datetime.now(UTC)) - timedelta(days=older_than_days)
    before = len(table.snapshots())
    table.maintenance.expire_snapshots().older_than(cutoff).commit()
    table = table.refresh()
    data, metadata = published.needed_files(table)
    folders = published.remove_staged(pipeline_name, {path.parents[2] for path in data}, cutoff)
    # A commit that met another one leaves its table metadata behind.
    metadata |= {location_of(each.metadata_file) for each in table.metadata.metadata_log}
    files = published.remove_metadata(table, metadata | {location_of(table.metadata_location)}, cutoff)
    gone = before - len(table.snapshots())
    log.info("Expired of %s: %s snapshots, %s staged folders, %s metadata files", pipeline_name, gone, folders, files)
    return {"snapshots": gone, "folders": folders, "metadata_files": files}


def _published_table(pipeline_name: str) -> Table:
    table = open_table(pipeline_name)
    if table is None or table.current_snapshot() is None:
        raise NotEnoughDataError(f"{pipeline_name}: the clean table is empty. Ingest some days first.")
    return table


def _replace_days(table: Table, column: str, days: Iterable[str], files: list[str], folder: str) -> None:
    with writing(Path(location_of(table.location()))), warnings.catch_warnings(), table.transaction() as transaction:
        warnings.filterwarnings("ignore", message="Delete operation did not match any records")
        transaction.delete(_any_of(column, days))
        transaction.add_files(files, snapshot_properties={STAGED: folder}, check_duplicate_files=False)


def _published_as(table: Table, folder: str) -> Snapshot | None:
    for snapshot in reversed(table.snapshots()):
        if snapshot.summary is not None and snapshot.summary.additional_properties.get(STAGED) == folder:
            return snapshot
    return None


def _check_rows(table: Table, column: str, expected: dict[str, int], snapshot_id: int) -> None:
    """Compare rows per partition with what was staged, from metadata alone."""
    found: Counter[str] = Counter()
    for task in table.scan(row_filter=_any_of(column, expected), snapshot_id=snapshot_id).plan_files():
        found[_day_of(task.file.partition[0])] += task.file.record_count
    if dict(found) != {day: rows for day, rows in expected.items() if rows}:
        wrong = {day: (found[day], rows) for day, rows in expected.items() if found[day] != rows}
        raise PublishError(
            f"{table.name()}: snapshot {snapshot_id} holds other rows than were staged (day: found, staged): {wrong}, "
            f"partitions found: {sorted(found)}. Publish these days again; if it stays, look at the staged files."
        )


def _day_of(value: Any) -> str:
    return value.isoformat() if isinstance(value, date) else (date(1970, 1, 1) + timedelta(days=int(value))).isoformat()


def _any_of(column: str, days: Iterable[str]) -> str:
    return f"{column} in ({', '.join(repr(day) for day in days)})"
