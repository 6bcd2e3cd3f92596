"""This file erases one subject, by its key, from what the endpoint has captured and from all that was derived from it.

What was delivered (landing zone, raw zone, clean table) is the deliverer's to correct: it is searched and named, not
changed, since the next delivery or the next cleaning would bring it back.
"""

import gzip
import json
import logging
import os
import re
import secrets
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from include import artefact, atomic, captures, models, published
from include.errors import ConfigError, ErasureError
from include.filesystems import files_below, filesystem_of
from include.ledger import nights, open_ledger
from include.pipeline import Pipeline
from include.reports import SUFFIX
from include.settings import load_settings

log = logging.getLogger(__name__)

ERASED = "(erased)"
_SAMPLES = (artefact.HOLDOUT, artefact.REFERENCE)


@dataclass
class Erasure:
    """Where a subject was found: rows or mentions, by file or place."""

    erased: dict[str, int] = field(default_factory=dict)
    elsewhere: dict[str, int] = field(default_factory=dict)  # found, and not touched
    unread: list[str] = field(default_factory=list)  # files that may hold the subject: they could not be unpacked


def erase(pipeline: Pipeline, value: str, *, really: bool) -> Erasure:
    """Find a subject and, if really wanted, erase it, look again, and write that down under a salted hash of its key.

    A repeated erasure does what is still to be done.

    :raises ConfigError: if the key is empty.
    :raises ErasureError: if it is still (or again) somewhere afterwards.
    """
    if not value.strip():  # it would be found between any two signs of a text
        raise ConfigError(
            f"--key is '{value}': expected is the subject's value in the column '{pipeline.key}'. Nothing was erased."
        )
    if not really:
        return Erasure(_find(pipeline, value), *_find_elsewhere(pipeline, value))
    with captures.rewriting(pipeline.name):
        found = _find(pipeline, value)
        for path, keep in _tables(pipeline, value):
            if _rewrite(path, keep):
                models.put_back(path.parent)
        for path in _pages(pipeline, value):
            path.unlink(missing_ok=True)
        _redact_notes(pipeline, value)
        if left := _find(pipeline, value):
            raise ErasureError(
                f"{pipeline.name}: the subject is still, or again, in {sorted(left)}: it was written there meanwhile. "
                "Erase it again."
            )
        _write_down(pipeline, value, found)
    return Erasure(found, *_find_elsewhere(pipeline, value))


def _find(pipeline: Pipeline, value: str) -> dict[str, int]:
    """Count rows and mentions in everything that is erased."""
    found = {}
    for path, keep in _tables(pipeline, value):
        rows = pq.ParquetFile(path).read()
        if number := len(rows) - (pc.sum(keep(rows)).as_py() or 0):
            found[str(path)] = number
    found |= {str(path): 1 for path in _pages(pipeline, value)}
    with open_ledger() as session:
        notes = sum(bool(_mention(value).search(row.note)) for row in nights.partitions_of(session, pipeline.name))
    return found | ({"ledger: notes of refused partitions": notes} if notes else {})


def _redact_notes(pipeline: Pipeline, value: str) -> None:
    with open_ledger() as session:
        engine = session.get_bind().engine
        if engine.dialect.name == "sqlite":  # it leaves old text in the pages it frees, unless told otherwise
            session.connection().exec_driver_sql("PRAGMA secure_delete=ON")
        for row in nights.partitions_of(session, pipeline.name):
            row.note = _mention(value).sub(ERASED, row.note)
    if engine.dialect.name == "sqlite":
        connection = engine.raw_connection()
        connection.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)")  # the log has a copy of each changed page
        connection.close()


Keep = Callable[[pa.Table], pa.Array]


def _tables(pipeline: Pipeline, value: str) -> Iterator[tuple[Path, Keep]]:
    """Yield every Parquet that is erased from, with what tells the rows that stay."""
    settings = load_settings()
    lake = settings.lake / pipeline.name

    def is_another(rows: pa.Table) -> pa.Array:
        if pipeline.key not in rows.column_names:
            return pa.array([True] * len(rows))
        return pc.fill_null(pc.not_equal(rows[pipeline.key].cast(pa.string()), value), True)

    def holds_another(rows: pa.Table) -> pa.Array:
        about = [_is_about(text, {pipeline.key, pipeline.label_key}, value) for text in rows["row"].to_pylist()]
        return pa.array([not each for each in about], pa.bool_())

    for pattern in ("predictions/day=*/[!.]*.parquet", "scores/*/day=*/[!.]*.parquet", "runs/*/windows.parquet"):
        yield from ((path, is_another) for path in sorted(lake.glob(pattern)))
    yield from ((path, holds_another) for path in sorted(lake.glob("quarantine/run=*/day=*/[!._]*.parquet")))
    folders = [*models.copies(pipeline.name), *_tracked_models(settings.data, pipeline.name)]
    yield from ((path, is_another) for folder in folders for name in _SAMPLES if (path := folder / name).is_file())


def _tracked_models(data: Path, pipeline_name: str) -> Iterator[Path]:
    """Yield MLflow's copies of the pipeline's models, where MLflow keeps them on this disk."""
    for card in (data / "mlartifacts").rglob("card.md"):
        if card.read_text().startswith(f"# {pipeline_name}: "):
            yield card.parent


def _pages(pipeline: Pipeline, value: str) -> list[Path]:
    """Return the reports that show the key: Great Expectations quotes rows that fail."""
    return [path for path in _reports(pipeline) if _mention(value).search(_text_of(path)[0])]


def _reports(pipeline: Pipeline) -> Iterator[Path]:
    return (load_settings().lake / pipeline.name / "reports").rglob(f"*{SUFFIX}")


def _text_of(path: Path) -> tuple[str, bool]:
    """Return a file's text, unpacked, and True; of one that cannot be unpacked its bytes as they are, and False."""
    content, is_read = path.read_bytes(), True
    if path.suffix == ".gz":
        try:
            content = gzip.decompress(content)
        except (OSError, EOFError, zlib.error):  # cut off while it was delivered, or no gzip
            is_read = False
    return content.decode(errors="replace"), is_read


def _find_elsewhere(pipeline: Pipeline, value: str) -> tuple[dict[str, int], list[str]]:
    """Count rows and mentions in what is not touched: deliveries, clean files of every snapshot kept, logs.

    Also return what could not be unpacked, there and among the reports.
    """
    settings = load_settings()
    lake = settings.lake / pipeline.name
    found = {}
    unread = [str(path) for path in _reports(pipeline) if not _text_of(path)[1]]
    for name, file in _row_files(pipeline.name):
        try:
            if number := _num_about(file, {pipeline.key, pipeline.label_key}, value):
                found[name] = number
        except pa.ArrowInvalid:  # cut off while it was delivered, or no Parquet
            unread.append(name)
    texts = [*lake.glob("raw/**/*"), *(settings.data / "landing").rglob("*"), *settings.airflow_logs.rglob("*.log")]
    for path in texts:
        if path.is_file() and path.suffix != ".parquet":
            text, is_read = _text_of(path)
            unread += [] if is_read else [str(path)]
            if number := len(_mention(value).findall(text)):
                found[str(path)] = number
    return found, unread


def _row_files(pipeline_name: str) -> Iterator[tuple[str, Any]]:
    """Yield the Parquet files of deliveries and of the clean table, on this disk and in the object store."""
    settings = load_settings()
    lake = settings.lake / pipeline_name
    for folder in (settings.data / "landing", lake / "raw", lake / "staged"):
        yield from ((str(path), path) for path in folder.rglob("*.parquet") if path.is_file())
    if settings.lake_url is not None:
        store, _ = filesystem_of(settings.lake_url)
        for there in files_below(published.folder_of(pipeline_name)):
            with store.open(str(there)) as file:
                yield str(there), file


def _num_about(file: Any, keys: set[str], value: str) -> int:
    """Count the rows of a Parquet file that have a value in one of these columns."""
    rows = pq.ParquetFile(file)
    counts = [
        pc.sum(pc.equal(rows.read(columns=[key])[key].cast(pa.string()), value)).as_py() or 0
        for key in keys & set(rows.schema_arrow.names)
    ]
    return max(counts, default=0)


def _is_about(text: str, keys: set[str], value: str) -> bool:
    """Say whether a quarantined row is the subject's; a malformed one has no columns, so that a mention is enough."""
    row = json.loads(text)
    found = [str(row[key]) for key in keys if key in row]
    return value in found if found else bool(_mention(value).search(text))


def _mention(value: str) -> re.Pattern[str]:
    return re.compile(rf"(?<![\w-]){re.escape(value)}(?![\w-])")


def _rewrite(path: Path, keep: Keep) -> bool:
    """Take a file's rows out that are not to stay, and return whether there were any."""
    try:
        rows, before = pq.ParquetFile(path).read(), path.stat()
    except FileNotFoundError:  # a run has replaced it meanwhile; the last look finds what it wrote instead
        return False
    kept = rows.filter(keep(rows))
    if len(kept) == len(rows):
        return False
    with atomic.replacing(path) as temporary:
        pq.write_table(kept, temporary, compression="zstd")
        os.utime(temporary, (before.st_mtime, before.st_mtime))  # it is kept no longer than it would have been
    return True


def _write_down(pipeline: Pipeline, value: str, found: dict[str, int]) -> None:
    """Append what was erased to the pipeline's record; the salted hash lets someone who knows the key find it."""
    path = load_settings().lake / pipeline.name / "erasures.jsonl"
    salt = secrets.token_hex(8)
    line = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "salt": salt,
        "sha256": sha256(f"{salt}{value}".encode()).hexdigest(),
        "places": len(found),
        "rows": sum(found.values()),
    }
    before = path.read_text() if path.exists() else ""
    atomic.write_text(path, f"{before}{json.dumps(line)}\n")
    log.info("%s: erased %s rows in %s places, sha256 %s", pipeline.name, line["rows"], line["places"], line["sha256"])
