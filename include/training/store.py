"""This file writes a model's folder: report, tracking, and all of it at once at the end."""

import json
import logging
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset as dataset
import pyarrow.parquet as pq

from include import artefact, slices
from include.config import load_pipeline
from include.learning.kinds import task_of
from include.learning.scoring import Floats
from include.learning.task import LABEL, Task
from include.settings import load_settings
from include.training import report
from include.training.finished import is_finished
from include.training.spec import Spec

log = logging.getLogger(__name__)


class Stopwatch(dict[str, float]):
    """Seconds by step."""

    @contextmanager
    def __call__(self, step: str) -> Iterator[None]:
        """Add the time spent inside to a step."""
        started = time.perf_counter()
        yield
        self[step] = round(self.get(step, 0.0) + time.perf_counter() - started, 3)


@dataclass(frozen=True)
class Files:
    """What a model's folder holds besides its manifest and its report."""

    content: bytes  # the graph
    holdout: pa.Table  # with labels, the graph's answers and, where they differ, those to be judged
    reference: pa.Table  # a sample of the training window, with the graph's answers


def store(spec: Spec, manifest: dict[str, Any], files: Files, seconds: Stopwatch) -> dict[str, Any]:
    """Write, report and track a model; its folder appears at the end, whole. Return the manifest."""
    spec.folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".training-", dir=spec.folder.parent) as scratch:
        folder = Path(scratch) / "model"
        folder.mkdir()
        with seconds("report"):
            (folder / artefact.MODEL).write_bytes(files.content)
            pq.write_table(files.holdout, folder / artefact.HOLDOUT)
            pq.write_table(files.reference, folder / artefact.REFERENCE)
            task = task_of(manifest)
            judged = artefact.judged(files.holdout, task)
            manifest["slices"] = _slices(spec, task, files.holdout, judged)
            report.write_report(folder, manifest, files.holdout[LABEL], judged)
        with seconds("mlflow"):
            manifest["tracking_run"] = _track(folder, manifest)
        manifest["seconds"] = dict(seconds)
        (folder / artefact.MANIFEST).write_text(json.dumps(manifest, indent=2))
        if is_finished(spec):
            log.warning("Another process finished %s first: its model stays, this one is dropped", spec.folder)
            return artefact.read_manifest(spec.folder)
        shutil.rmtree(spec.folder, ignore_errors=True)
        folder.replace(spec.folder)
    return manifest


def _track(folder: Path, manifest: dict[str, Any]) -> str:
    if not load_settings().tracking_url:
        return ""
    from include import registry  # noqa: PLC0415  MLflow takes seconds to import, and a container may reach none

    return registry.log_training(folder, manifest)


def _slices(spec: Spec, mine: Task, holdout: pa.Table, judged: Floats) -> dict[str, slices.Worth]:
    pipeline = load_pipeline(spec.pipeline)
    asked = pipeline.gate.slices
    if spec.rows:  # a platform has brought the rows, perhaps before a column was named in the YAML
        asked = [name for name in asked if name in dataset.dataset(spec.rows).schema.names]
    # As the spec says: a repair's manifest names the snapshot that its network has learned from.
    about = spec.model_dump(include={"holdout_days", "snapshot_id"})
    values = slices.values_of(pipeline, about, holdout, asked, spec.rows)
    task, labels, (known,) = mine.compare(holdout[LABEL], (mine, judged))
    return slices.worth_of(task, labels, known, values, policy=pipeline.gate)
