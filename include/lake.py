"""This file keeps one Iceberg table of clean rows per pipeline: publish, read, tag, expire."""

import json
import logging
import shutil
import time
import warnings
from collections import Counter
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyiceberg.catalog import Catalog
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.exceptions import (
    CommitFailedException,
    NamespaceAlreadyExistsError,
    NoSuchTableError,
    TableAlreadyExistsError,
    ValidationException,
)
from pyiceberg.expressions import And, BooleanExpression, GreaterThanOrEqual, In, LessThanOrEqual
from pyiceberg.table import Table
from pyiceberg.table.snapshots import Snapshot

from include.config import Pipeline, load_pipeline, load_settings
from include.errors import NotEnoughDataError, PublishError

log = logging.getLogger(__name__)

NAMESPACE = "evergreen"
STAGED = "evergreen.staged"
ATTEMPTS = 5
PROPERTIES = {
    # Without these, commits and their metadata grow with every night.
    "commit.manifest-merge.enabled": "true",
    "commit.manifest.min-count-to-merge": "8",
    "write.metadata.delete-after-commit.enabled": "true",
    "write.metadata.previous-versions-max": "20",
    "write.metadata.compression-codec": "none",
    "commit.retry.num-retries": "8",
    "commit.retry.total-timeout-ms": "60000",
}


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
    for attempt in range(1, ATTEMPTS + 1):
        table = _table_for(pipeline, files[0])
        if done := _published_as(table, staged["folder"]):
            log.info("%s is already published as snapshot %s", staged["folder"], done.snapshot_id)
            return str(done.snapshot_id), rows
        try:
            _replace_days(table, pipeline.date, days, files, staged["folder"])
            break
        except (CommitFailedException, ValidationException) as error:
            if attempt == ATTEMPTS:
                raise PublishError(f"{pipeline.name}: {ATTEMPTS} attempts to publish {days} met other commits: {error}") from error
            log.warning("Publishing met another commit, attempt %s of %s: %s", attempt, ATTEMPTS, error)
            time.sleep(0.2 * attempt)
    snapshot = _published_as(table, staged["folder"])
    if snapshot is None:
        raise PublishError(f"{pipeline.name}: the commit of {staged['folder']} left no snapshot. Publish again.")
    _check_rows(table, pipeline.date, expected, snapshot.snapshot_id)
    log.info("Published %s rows of %s days as snapshot %s", rows, len(days), snapshot.snapshot_id)
    return str(snapshot.snapshot_id), rows


def read_clean(
    pipeline_name: str, first: str, last: str, columns: list[str], snapshot_id: str | None = None
) -> pa.Table:
    """Return columns of the clean rows of a range of days, both included, in the order of days and keys.

    :raises NotEnoughDataError: if nothing was published yet.
    """
    pipeline = load_pipeline(pipeline_name)
    table = _table(pipeline_name)
    if table is None or table.current_snapshot() is None:
        raise NotEnoughDataError(f"{pipeline_name}: the clean table is empty. Ingest some days first.")
    order = [pipeline.date, pipeline.key]
    scan = table.scan(
        row_filter=_between(pipeline.date, first, last),
        selected_fields=tuple(dict.fromkeys([*columns, *order])),
        snapshot_id=int(snapshot_id) if snapshot_id else None,
    )
    rows = scan.to_arrow()
    return rows.take(pc.sort_indices(rows, sort_keys=[(name, "ascending") for name in order])).select(columns)


def current_snapshot(pipeline_name: str) -> str | None:
    """Return the id of the table's newest snapshot, or none if nothing was published."""
    table = _table(pipeline_name)
    snapshot = table.current_snapshot() if table else None
    return str(snapshot.snapshot_id) if snapshot else None


def tag_snapshot(pipeline_name: str, snapshot_id: str, tag: str) -> None:
    """Name a snapshot so that expiry keeps it; naming it again the same way does nothing."""
    for attempt in range(1, ATTEMPTS + 1):
        table = _table(pipeline_name)
        if table is None:
            raise NotEnoughDataError(f"{pipeline_name}: no clean table, so no snapshot {snapshot_id} to tag '{tag}'.")
        known = table.refs().get(tag)
        if known and known.snapshot_id == int(snapshot_id):
            return
        try:
            table.manage_snapshots().create_tag(int(snapshot_id), tag).commit()
            return
        except CommitFailedException:
            if attempt == ATTEMPTS:
                raise
            time.sleep(0.2 * attempt)


def expire(pipeline_name: str, older_than_days: int) -> dict[str, int]:
    """Forget old snapshots without a tag and remove staged folders that no snapshot left needs.

    :returns: how many snapshots and how many folders were removed.
    """
    table = _table(pipeline_name)
    if table is None:
        return {"snapshots": 0, "folders": 0}
    cutoff = datetime.now(UTC) - timedelta(days=older_than_days)
    before = len(table.snapshots())
    table.maintenance.expire_snapshots().older_than(cutoff).commit()
    table = table.refresh()
    needed = {_local(path).parents[2] for path in _data_files(table)}
    removed = 0
    for folder in sorted((load_settings().lake / pipeline_name / "staged").glob("*")):
        if folder not in needed and folder.stat().st_mtime < cutoff.timestamp():
            shutil.rmtree(folder)
            removed += 1
    gone = before - len(table.snapshots())
    log.info("Expired %s snapshots and %s staged folders of %s", gone, removed, pipeline_name)
    return {"snapshots": gone, "folders": removed}


def _catalog() -> Catalog:
    lake = load_settings().lake
    lake.mkdir(parents=True, exist_ok=True)
    return SqlCatalog(NAMESPACE, uri=f"sqlite:///{lake / 'catalog.db'}", warehouse=lake.as_uri())


def _table(pipeline_name: str) -> Table | None:
    try:
        return _catalog().load_table((NAMESPACE, pipeline_name))
    except NoSuchTableError:
        return None


def _table_for(pipeline: Pipeline, staged_file: str) -> Table:
    """Return the table, made or widened to hold the columns of a staged file."""
    # Spark marks filled columns as required; a table column that could never be null again would bind later YAMLs.
    schema = pa.schema([field.with_nullable(True) for field in pq.read_schema(staged_file).remove_metadata()])
    table = _table(pipeline.name) or _create(pipeline, schema)
    if set(schema.names) - {field.name for field in table.schema().fields}:
        with table.update_schema() as update:
            update.union_by_name(schema)
        table = table.refresh()
    return table


def _create(pipeline: Pipeline, schema: pa.Schema) -> Table:
    catalog = _catalog()
    try:
        catalog.create_namespace(NAMESPACE)
    except NamespaceAlreadyExistsError:
        pass
    try:
        with catalog.create_table_transaction((NAMESPACE, pipeline.name), schema, properties=PROPERTIES) as creation:
            with creation.update_spec() as spec:
                spec.add_identity(pipeline.date)
        return catalog.load_table((NAMESPACE, pipeline.name))
    except TableAlreadyExistsError:
        return catalog.load_table((NAMESPACE, pipeline.name))


def _replace_days(table: Table, column: str, days: Iterable[str], files: list[str], folder: str) -> None:
    with warnings.catch_warnings(), table.transaction() as transaction:
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


def _any_of(column: str, days: Iterable[str]) -> BooleanExpression:
    return In(column, {date.fromisoformat(day) for day in days})


def _between(column: str, first: str, last: str) -> BooleanExpression:
    return And(
        GreaterThanOrEqual(column, date.fromisoformat(first).isoformat()),
        LessThanOrEqual(column, date.fromisoformat(last).isoformat()),
    )


def _data_files(table: Table) -> set[str]:
    manifests = {
        manifest.manifest_path: manifest for snapshot in table.snapshots() for manifest in snapshot.manifests(table.io)
    }
    return {
        entry.data_file.file_path for manifest in manifests.values() for entry in manifest.fetch_manifest_entry(table.io)
    }


def _local(uri: str) -> Path:
    return Path(unquote(urlsplit(uri).path)) if uri.startswith("file:") else Path(uri)
