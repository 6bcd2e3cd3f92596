"""This file is one training from beginning to end: data, network, graph, and all that is said about the model."""

import logging
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa

from include import artefact
from include.config import load_pipeline
from include.evaluation import metrics, quality
from include.learning.kinds import KINDS
from include.learning.metrics import metrics_of
from include.learning.scoring import Floats
from include.learning.task import Task
from include.training import export
from include.training.data import Window, load_windows, newest
from include.training.heads import head_of
from include.training.importance import importance_of
from include.training.models import TabularNet
from include.training.preprocessing import categories_of, fit_preprocessor, transform
from include.training.spec import Spec
from include.training.store import Files, Stopwatch, store
from include.training.torch_trainer import Curves, Trainer, make_deterministic

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Fitted:
    """A trained model: its graph, what it answers to the hold-out, and how it came about."""

    task: Task
    content: bytes
    predictions: Floats  # for the hold-out
    parity: float
    labels: Floats  # learned from
    categories: dict[str, list[str]]
    curves: Curves


def train(spec: Spec, seconds: Stopwatch) -> dict[str, Any]:
    """Train, export, check, report and track a model; its folder appears at the end, whole. Return the manifest.

    With `refit`, what is judged on the hold-out is then learned again from as many days up to the newest one: that
    model is the one to be served.
    """
    with seconds("data"):
        window, holdout = load_windows(spec)
    judged = served = fit(spec, window, holdout, seconds)
    learned = window
    if spec.training.refit:
        learned = newest(window, holdout, spec.training.window_days)
        log.info("Learn again from %s rows, %s to %s", len(learned), learned.days[0], learned.days[-1])
        served = fit(spec, learned, holdout, seconds)
    with seconds("importance"):
        graph = artefact.session_of(judged.content)
        importance = importance_of(graph, (window, holdout), spec.training.features, judged.task)

    everyone, labels, (known,) = judged.task.compare(holdout.labels, (judged.task, judged.predictions))
    manifest = {
        **_about_data(spec, learned, holdout),
        "recipe_days": list(spec.train_days),  # what the judged answers had been learned from
        "task": served.task.as_dict(),
        "labels": served.task.summary(served.labels),
        "sha256": artefact.sha256_of(served.content),
        "metrics": metrics(everyone, labels, known),
        "categories": served.categories,
        "parity": served.parity,
        "importance": importance,
        **_about_steps(spec, judged.curves),
    }
    answered = artefact.with_answers(holdout.as_table(spec), served.task, served.predictions)
    if served is not judged:
        answered = artefact.with_answers(answered, judged.task, judged.predictions, prefix=artefact.JUDGED)
    return store(spec, manifest, Files(served.content, answered, _reference(spec, served, learned)), seconds)


def fit(spec: Spec, window: Window, holdout: Window, seconds: Stopwatch) -> Fitted:
    """Fit preprocessing and network to a window and export them as one graph; the hold-out is only looked at."""
    make_deterministic(spec.training.seed)
    features = spec.training.features
    with seconds("data"):
        log.info("Learn from %s rows, look at %s held out", len(window), len(holdout))
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
    return Fitted(task, content, predictions, parity, labels, categories, curves)


def _qualities(task: Task, labels: Floats, predictions: Floats) -> dict[str, float]:
    return {name: quality(name, labels, predictions) for name in metrics_of(task.name)}


def _reference(spec: Spec, served: Fitted, window: Window) -> pa.Table:
    size = min(spec.sample_rows, len(window))
    rows = np.sort(np.random.default_rng(spec.training.seed).choice(len(window), size, replace=False))
    columns = {name: values[rows] for name, values in window.columns.items()}
    predictions = artefact.predict(artefact.session_of(served.content), columns, spec.training.features)
    return artefact.with_answers(window.as_table(spec, rows), served.task, predictions)


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
        "repair": spec.repair,
        "features": spec.training.features.model_dump(),
        "target": spec.training.target,
        "snapshot_id": spec.snapshot_id,
        "train_days": [str(window.days[0]), str(window.days[-1])],
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
