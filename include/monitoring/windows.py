"""This file joins what the endpoint was asked with what became of it, one window per day that was served.

Keys, versions and labels are read of every row; all columns only of a sample, so that a large day costs little more.
"""

import json
import logging
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from include import atomic, captures, lake
from include.errors import PublishError
from include.learning.kinds import KINDS, labels_of
from include.learning.metrics import TaskName
from include.learning.task import LABEL, PREDICTION
from include.ledger import Publication, open_ledger
from include.partition import run_key_of
from include.pipeline import ANSWER_DAY, ANSWER_ID, ANSWER_VERSION, ANSWERED_AT, Pipeline
from include.settings import load_settings

log = logging.getLogger(__name__)

MOST_ROWS = 50_000  # of a version and day: mean losses and rates are known to half a percent then
NOTES = b"evergreen"
_FILE, _ROW = "file", "row"
_BATCH = 2**16
_SEED = 7

Counts = dict[str, list[int]]  # version: its answers, and how many of them have a label


def collect(pipeline: Pipeline, publication_id: str) -> str:
    """Join a publication's served days with their labels and return the Parquet's path.

    Days without captured predictions are history: they are named in the file's metadata and never measured. So are the
    numbers of rows and labels by day and version: the file holds at most 50,000 rows of each.
    """
    settings = load_settings()
    folder = settings.lake / pipeline.name
    days = _days_of(publication_id)
    served = [day for day in days if captures.captured_files(_folder(folder, day))]
    windows = {day: captures.reading(_folder(folder, day), partial(_window, pipeline, day)) for day in served}
    nothing = pa.table({ANSWER_DAY: pa.array([], pa.string())})
    joined = pa.concat_tables([table for table, _ in windows.values()] or [nothing], promote_options="permissive")
    notes = {
        "served": served,
        "history": [day for day in days if day not in served],
        "rows": {day: counts for day, (_, counts) in windows.items()},
    }
    path = folder / "runs" / run_key_of(publication_id) / "windows.parquet"
    with atomic.replacing(path) as temporary:
        pq.write_table(joined.replace_schema_metadata({NOTES: json.dumps(notes)}), temporary)
    num_rows = sum(rows for _, counts in windows.values() for rows, _ in counts.values())
    log.info("%s of %s days were served: %s predictions; the others are history.", len(served), len(days), num_rows)
    return str(path)


def counts_of(joined: pa.Table, rows: pa.Table, day: str, version: int) -> tuple[int, int]:
    """Return how many answers a version gave on a day, and how many of them have a label.

    :param rows: that version's and day's of the joined ones: all of them, if an Evergreen that noted no numbers wrote.
    """
    notes = json.loads((joined.schema.metadata or {}).get(NOTES, b"{}"))
    whole = [len(rows), len(rows) - rows[LABEL].null_count]
    num_rows, num_labelled = notes.get("rows", {}).get(day, {}).get(str(version), whole)
    return num_rows, num_labelled


def newest_answers(table: pa.Table, key: str) -> pa.Table:
    """Keep one row per key and version: the last that was answered."""
    order = table.select([key, ANSWER_VERSION, ANSWERED_AT, ANSWER_ID]).append_column(
        "row", pa.array(np.arange(len(table)))
    )
    order = order.sort_by([(ANSWERED_AT, "ascending"), (ANSWER_ID, "ascending")])
    last = order.group_by([key, ANSWER_VERSION], use_threads=False).aggregate([("row", "last")])["row_last"]
    return table.take(last.combine_chunks().sort())


def with_labels(table: pa.Table, clean: pa.Table, key: str, task: TaskName, target: str) -> pa.Table:
    """Append the label of each row's key as the task keeps it; null where there is none (yet)."""
    labels = labels_of(clean, task, target)
    is_known = pc.is_valid(labels)
    row = pc.index_in(table[key], value_set=clean[key].filter(is_known).cast(pa.string()).combine_chunks())
    return table.append_column(LABEL, labels.filter(is_known).take(row))


def _days_of(publication_id: str) -> list[str]:
    with open_ledger() as session:
        publication = session.get(Publication, publication_id)
        if publication is None:
            raise PublishError(f"There is no publication '{publication_id}' in the ledger; ingest announces them.")
        return sorted(publication.days)


def _window(pipeline: Pipeline, day: str, paths: Sequence[Path]) -> tuple[pa.Table, Counts]:
    task, target, key = pipeline.training.task, pipeline.training.target, pipeline.key
    files = _of_one_kind(paths, task, day)
    if not files:
        return pa.table({ANSWER_DAY: pa.array([], pa.string())}), {}
    asked = _narrow(files, [key, ANSWER_VERSION])
    if pc.count_distinct(asked[key]).as_py() < len(asked):  # some were answered again, or by two versions
        asked = newest_answers(_narrow(files, [key, ANSWER_VERSION, ANSWERED_AT, ANSWER_ID]), key)
    others = [name for name in pipeline.gate.slices if name not in pipeline.training.features.names]
    clean = lake.read_clean(pipeline.name, day, day, list(dict.fromkeys([key, target, *others])))
    asked = with_labels(asked, clean, key, task, target)
    versions = pc.value_counts(asked[ANSWER_VERSION]).to_pylist()
    parts = {each["values"]: asked.filter(pc.equal(asked[ANSWER_VERSION], each["values"])) for each in versions}
    counts = {str(version): [len(part), len(part) - part[LABEL].null_count] for version, part in parts.items()}
    kept = pa.concat_tables(_sample(part) for part in parts.values())
    kept = kept.sort_by([(_FILE, "ascending"), (_ROW, "ascending")])
    whole = _whole(files, kept).append_column(LABEL, kept[LABEL])
    row = pc.index_in(kept[key], value_set=clean[key].cast(pa.string()).combine_chunks())
    for name in (name for name in others if name not in whole.column_names):
        whole = whole.append_column(name, clean[name].take(row))
    return whole, counts


def _of_one_kind(paths: Sequence[Path], task: TaskName, day: str) -> list[Path]:
    # After the YAML's task has changed, older versions may have answered in words what is now a number.
    wanted = KINDS[task].fields[0].type
    fitting = [path for path in paths if pq.read_schema(path).field(PREDICTION).type == wanted]
    if len(fitting) < len(paths):
        told = (day, len(paths) - len(fitting), len(paths), task)
        log.warning("%s: %s of %s files of predictions are left out, no %s model wrote them", *told)
    return fitting


def _narrow(files: Sequence[Path], columns: list[str]) -> pa.Table:
    """Return a few columns of every row, and where it stands."""
    tables = []
    for number, path in enumerate(files):
        table = pq.ParquetFile(path).read(columns=columns)
        table = table.append_column(_FILE, pa.array(np.full(len(table), number)))
        tables.append(table.append_column(_ROW, pa.array(np.arange(len(table)))))
    return pa.concat_tables(tables)


def _sample(rows: pa.Table) -> pa.Table:
    if len(rows) <= MOST_ROWS:
        return rows
    return rows.take(np.random.default_rng(_SEED).choice(len(rows), MOST_ROWS, replace=False))


def _whole(files: Sequence[Path], kept: pa.Table) -> pa.Table:
    """Return all columns of the rows kept, in the order of files and rows."""
    number, row = kept[_FILE].to_numpy(), kept[_ROW].to_numpy()
    tables = [_rows_of(path, row[number == place]) for place, path in enumerate(files)]
    return pa.concat_tables(tables, promote_options="permissive")


def _rows_of(path: Path, rows: npt.NDArray[np.int64]) -> pa.Table:
    file, begins, taken = pq.ParquetFile(path), 0, []
    for batch in file.iter_batches(_BATCH):
        inside = rows[(rows >= begins) & (rows < begins + len(batch))] - begins
        taken.append(batch.take(pa.array(inside)))
        begins += len(batch)
    return pa.Table.from_batches(taken, file.schema_arrow)


def _folder(folder: Path, day: str) -> Path:
    return folder / "predictions" / f"day={day}"
