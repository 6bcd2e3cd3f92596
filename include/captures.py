"""This file reads captured predictions, and puts a day's many small files together into one.

Whoever rewrites captured rows holds the pipeline's lock; the endpoint only ever adds files, and needs none.
"""

import fcntl
import os
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar
from uuid import uuid4

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from include import atomic
from include.pipeline import ANSWER_ID
from include.settings import load_settings

STILL_SECONDS = 3600  # files younger than this may be followed by more within the hour: they are left for the next time
ATTEMPTS = 5

Read = TypeVar("Read")


def captured_files(folder: Path) -> list[Path]:
    """Return a day's files."""
    return sorted(folder.glob("[!.]*.parquet"))


def read_captured(folder: Path) -> list[pa.Table]:
    """Return the tables of a day's files; see `reading`."""
    return reading(folder, lambda paths: [pq.ParquetFile(path).read() for path in paths])


def reading(folder: Path, read: Callable[[list[Path]], Read]) -> Read:
    """Return what a function makes of a day's files, none missing, also while they are being put together.

    A row may be in two of them for that moment: rows are told apart by their `id`, answers by key and version.

    :param read: is called again if a file has gone meanwhile.
    :raises FileNotFoundError: if there are none.
    """
    for _ in range(ATTEMPTS):
        with suppress(FileNotFoundError):  # its rows are in a newer file by now
            if paths := captured_files(folder):
                return read(paths)
    raise FileNotFoundError(f"{folder}: no captured predictions. They are kept for `retention.predictions_days`.")


def compact(folder: Path, now: datetime) -> int:
    """Put a day's files that are older than an hour together, one per set of columns, and return how many they were."""
    groups: dict[pa.Schema, list[Path]] = defaultdict(list)
    for path in captured_files(folder):
        if path.stat().st_mtime < now.timestamp() - STILL_SECONDS:
            groups[pq.read_schema(path).remove_metadata()].append(path)
    return sum(_put_together(parts) for parts in groups.values() if len(parts) > 1)


@contextmanager
def rewriting(pipeline_name: str) -> Iterator[None]:
    """Hold a pipeline's lock while rows that were written before are rewritten or removed."""
    path = load_settings().lake / pipeline_name / "rewriting.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _put_together(parts: Sequence[Path]) -> int:
    """Write the new file before the old ones go, as old as its newest part: compaction makes nothing live longer."""
    newest = max(path.stat().st_mtime for path in parts)
    name = f"{datetime.fromtimestamp(newest, UTC):%Y%m%dT%H%M%S%f}-{uuid4().hex[:12]}.parquet"
    rows = pa.concat_tables([pq.ParquetFile(path).read() for path in parts])
    with atomic.replacing(parts[0].with_name(name)) as temporary:
        pq.write_table(_once(rows), temporary, compression="zstd")
        os.utime(temporary, (newest, newest))
    for path in parts:
        path.unlink(missing_ok=True)
    return len(parts)


def _once(rows: pa.Table) -> pa.Table:
    """Return each row once: a compaction that was killed has left some in two files."""
    if pc.count_distinct(rows[ANSWER_ID]).as_py() == len(rows):
        return rows
    numbered = pa.table({ANSWER_ID: rows[ANSWER_ID], "row": pa.array(range(len(rows)))})
    first = numbered.group_by(ANSWER_ID, use_threads=False).aggregate([("row", "min")])["row_min"]
    return rows.take(first.combine_chunks().sort())
