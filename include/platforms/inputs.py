"""This file says what a training needs where there is no lake, and takes it to a storage that its machines share."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from include.config import load_pipeline
from include.partition import run_key_of
from include.platforms import storage
from include.settings import load_settings
from include.training.rows import days_of
from include.training.spec import Spec


def storage_of(spec: Spec, root: str) -> str:
    """Return where a training's input, checkpoints and model lie: all attempts' the same, another recipe's another."""
    return f"{root.rstrip('/')}/{spec.pipeline}/{run_key_of(spec.request_id)}/{spec.fingerprint}"


def days_to_send(spec: Spec) -> Iterator[tuple[str, pa.Table]]:
    """Yield each day's rows with all that is needed where there is no lake: what is learned from, and `gate.slices`."""
    return days_of(spec, load_pipeline(spec.pipeline).gate.slices)


def put_input(spec: Spec, uri: str) -> None:
    """Take them there, unless an attempt before has done so."""
    if storage.is_whole(f"{uri}/input"):
        return
    with tempfile.TemporaryDirectory(prefix="evergreen-") as scratch:
        rows, pipelines = Path(scratch, "rows"), Path(scratch, "pipelines")
        rows.mkdir()
        pipelines.mkdir()
        for day, table in days_to_send(spec):
            pq.write_table(table, rows / f"{day}.parquet")
        shutil.copy(load_settings().pipelines / f"{spec.pipeline}.yaml", pipelines)
        storage.put_folder(Path(scratch), f"{uri}/input")
