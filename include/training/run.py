"""This file is one training from beginning to end: data, network, graph, report, tracking, and the model's folder."""

import json
import logging
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from include import artefact, registry
from include.config import load_pipeline
from include.errors import ArtefactError
from include.evaluation import metrics, quality
from include.learning.kinds import KINDS, task_of
from include.learning.metrics import metrics_of
from include.learning.scoring import Floats
from include.learning.task import Task
from include.training import export, report
from include.training.data import Window, load_windows
from include.training.heads import head_of
from include.training.importance import importance_of
from include.training.models import TabularNet
from include.training.preprocessing import categories_of, fit_preprocessor, transform
from include.training.spec import Spec
from include.training.torch_trainer import Curves, Trainer, make_deterministic

log = logging.getLogger(__name__)


class Stopwatch(dict[str, float]):
    """Seconds by step."""

    @contextmanager
    def __call__(self, step: str) -> Iterator[None]:
        """Add the time spent inside to a step."""
        started = time.perf_counter()
        yield
        self[step] = round(self.get(step, 0.0) + time.perf_counter() - started, 3)


def is_finished(spec: Spec) -> bool:
    """Tell whether the spec's request already has its model, whole and unaltered."""
    try:
        manifest = artefact.read_manifest(spec.folder)
        artefact.load_session(spec.folder, manifest["sha256"])
    except ArtefactError:
        return False
    return bool(manifest["request_id"] == spec.request_id)


def train(spec: Spec, seconds: Stopwatch) -> dict[str, Any]:
    """Train, export, check, report and track a model; its folder appears at the end, whole. Return the manifest."""
    make_deterministic(spec.training.seed)
    features = spec.training.features
    with seconds("data"):
        window, holdout = load_windows(spec)
        log.info("Learn from %s rows, hold out %s rows", len(window), len(holdout))
        preprocessor = fit_preprocessor(window.columns, features)
        matrix, holdout_matrix = (transform(preprocessor, part.columns, features) for part in (window, holdout))
        task = KINDS[spec.training.task].learn(window.labels)
        labels, holdout_labels = task.encode(window.labels), task.encode(holdout.labels)
    with seconds("steps"):
        categories = categories_of(preprocessor, features)
        sizes = [len(seen) for seen in categories.values()]
        head = head_of(task)
        network = TabularNet(len(features.numeric), sizes, spec.training, start=head.start(labels))
        trainer = Trainer(network, head, spec.training)
        judge = partial(_qualities, task, holdout_labels)
        curves = trainer.fit((matrix, labels), (holdout_matrix, holdout_labels), judge)
    with seconds("export"):
        expected = trainer.predict(holdout_matrix)
        content = export.export(preprocessor, trainer.model, features)
        predictions, parity = export.check_same(content, holdout.columns, expected, features, task)
    with seconds("importance"):
        importance = importance_of(artefact.session_of(content), (window, holdout), features, task)

    everyone, true, (known,) = task.compare(holdout.labels, (task, predictions))
    manifest = {
        **_about_data(spec, window, holdout),
        "task": task.as_dict(),
        "labels": task.summary(labels),
        "sha256": artefact.sha256_of(content),
        "metrics": metrics(everyone, true, known),
        "categories": categories,
        "parity": parity,
        "importance": importance,
        **_about_steps(spec, curves),
    }
    return _store(spec, manifest, content, (window, holdout, predictions), seconds)


def _qualities(task: Task, labels: Floats, predictions: Floats) -> dict[str, float]:
    return {name: quality(name, labels, predictions) for name in metrics_of(task.name)}


def _store(
    spec: Spec,
    manifest: dict[str, Any],
    content: bytes,
    scored: tuple[Window, Window, npt.NDArray[np.float32]],
    seconds: Stopwatch,
) -> dict[str, Any]:
    window, holdout, predictions = scored
    task = task_of(manifest)
    spec.folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".training-", dir=spec.folder.parent) as scratch:
        folder = Path(scratch) / "model"
        folder.mkdir()
        with seconds("report"):
            (folder / artefact.MODEL).write_bytes(content)
            pq.write_table(_answered(holdout.as_table(spec), task, predictions), folder / artefact.HOLDOUT)
            pq.write_table(_reference(spec, task, window, content), folder / artefact.REFERENCE)
            report.write_report(folder, manifest, holdout.labels, predictions)
        with seconds("mlflow"):
            manifest["tracking_run"] = registry.log_training(folder, manifest)
        manifest["seconds"] = dict(seconds)
        (folder / artefact.MANIFEST).write_text(json.dumps(manifest, indent=2))
        if is_finished(spec):
            log.warning("Another process finished %s first: its model stays, this one is dropped", spec.folder)
            return artefact.read_manifest(spec.folder)
        shutil.rmtree(spec.folder, ignore_errors=True)
        folder.replace(spec.folder)
    return manifest


def _reference(spec: Spec, task: Task, window: Window, content: bytes) -> pa.Table:
    size = min(spec.sample_rows, len(window))
    rows = np.sort(np.random.default_rng(spec.training.seed).choice(len(window), size, replace=False))
    columns = {name: values[rows] for name, values in window.columns.items()}
    predictions = artefact.predict(artefact.session_of(content), columns, spec.training.features)
    return _answered(window.as_table(spec, rows), task, predictions)


def _answered(table: pa.Table, task: Task, predictions: npt.NDArray[np.float32]) -> pa.Table:
    for name, values in task.columns(predictions).items():
        table = table.append_column(name, values)
    return table


def _about_data(spec: Spec, window: Window, holdout: Window) -> dict[str, Any]:
    numeric = {name: window.columns[name] for name in spec.training.features.numeric}
    ranges = {
        name: [float(np.nanmin(values)), float(np.nanmax(values))]
        for name, values in numeric.items()
        if not np.isnan(values).all()
    }
    return {
        "pipeline": spec.pipeline,
        "description": load_pipeline(spec.pipeline).description,
        "request_id": spec.request_id,
        "reason": spec.reason,
        "features": spec.training.features.model_dump(),
        "target": spec.training.target,
        "snapshot_id": spec.snapshot_id,
        "train_days": list(spec.train_days),
        "holdout_days": list(spec.holdout_days),
        "train_rows": len(window),
        "holdout_rows": len(holdout),
        "ranges": ranges,
    }


def _about_steps(spec: Spec, curves: Curves) -> dict[str, Any]:
    return {
        "losses": curves.loss,
        "curves": curves.as_dict(),
        "seed": spec.training.seed,
        "parameters": spec.training.model_dump(exclude={"features", "target"}),
        "tracking_run": "",
        "seconds": {},
    }
