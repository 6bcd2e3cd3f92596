"""This file joins what the endpoint was asked with what became of it, one window per day that was served."""

import json
import logging
from pathlib import Path

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


def collect(pipeline: Pipeline, publication_id: str) -> str:
    """Join a publication's served days with their labels and return the Parquet's path.

    Days without captured predictions are history: they are named in the file's metadata and never measured.
    """
    settings = load_settings()
    folder = settings.lake / pipeline.name
    days = _days_of(publication_id)
    served = [day for day in days if captures.captured_files(_folder(folder, day))]
    tables = [_window(pipeline, folder, day) for day in served]
    nothing = pa.table({ANSWER_DAY: pa.array([], pa.string())})
    joined = pa.concat_tables(tables or [nothing], promote_options="permissive")
    notes = {"served": served, "history": [day for day in days if day not in served]}
    path = folder / "runs" / run_key_of(publication_id) / "windows.parquet"
    with atomic.replacing(path) as temporary:
        pq.write_table(joined.replace_schema_metadata({"evergreen": json.dumps(notes)}), temporary)
    log.info("%s of %s days were served: %s predictions; the others are history.", len(served), len(days), len(joined))
    return str(path)


def newest_answers(table: pa.Table, key: str) -> pa.Table:
    """Keep one row per key and version: the last that was answered."""
    order = table.select([key, ANSWER_VERSION, ANSWERED_AT, ANSWER_ID]).append_column(
        "row", pa.array(range(len(table)), pa.int64())
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


def _window(pipeline: Pipeline, folder: Path, day: str) -> pa.Table:
    task, target = pipeline.training.task, pipeline.training.target
    files = captures.read_captured(_folder(folder, day))
    answers = newest_answers(_of_one_kind(files, task, day), pipeline.key)
    clean = lake.read_clean(pipeline.name, day, day, [pipeline.key, target])
    return with_labels(answers, clean, pipeline.key, task, target)


def _of_one_kind(files: list[pa.Table], task: TaskName, day: str) -> pa.Table:
    # After the YAML's task has changed, older versions may have answered in words what is now a number.
    wanted = KINDS[task].fields[0].type
    fitting = [file for file in files if file.schema.field(PREDICTION).type == wanted]
    if len(fitting) < len(files):
        told = (day, len(files) - len(fitting), len(files), task)
        log.warning("%s: %s of %s files of predictions are left out, no %s model wrote them", *told)
    nothing = files[0].slice(0, 0).drop_columns([PREDICTION])
    return pa.concat_tables(fitting or [nothing], promote_options="permissive")


def _folder(folder: Path, day: str) -> Path:
    return folder / "predictions" / f"day={day}"
