"""This file is one training from beginning to end: data, network, graph, and all that is said about the model."""

import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from include import artefact
from include.config import load_pipeline
from include.errors import NotEnoughDataError
from include.evaluation import metrics, quality
from include.learning.metrics import metrics_of
from include.learning.scoring import Floats
from include.learning.task import Task
from include.recipe import Training
from include.repairs.scout import scout
from include.training import data, export
from include.training.checkpoint import Checkpoints
from include.training.curves import Curves
from include.training.data import Seen, Window, window_of
from include.training.frameworks import framework
from include.training.importance import SAMPLE_ROWS, importance_of
from include.training.notice import Notice
from include.training.preprocessing import Preprocessor
from include.training.rows import Span, fetch
from include.training.spec import Spec
from include.training.store import Files, Stopwatch, store

log = logging.getLogger(__name__)

VALIDATION_SHARE = 0.1


@dataclass(frozen=True)
class Place:
    """Where a training runs: the framework, this process among those of the training, and its notice to end."""

    framework: Any
    rank: int
    world: int
    notice: Notice


@dataclass(frozen=True)
class Fitted:
    """A trained model, what it answers to the hold-out, and how it came about."""

    task: Task
    preprocessor: Preprocessor
    trainer: Any
    predictions: npt.NDArray[np.float32]  # for the hold-out, the framework's own
    labels: Floats  # learned from
    seen: Seen
    curves: Curves


def train(spec: Spec, seconds: Stopwatch) -> dict[str, Any]:
    """Train, export, check, report and track a model; its folder appears at the end, whole. Return the manifest.

    With `refit`, what is judged on the hold-out is then learned again from as many days up to the newest one: that
    model is the one to be served. Of several processes the first one returns the manifest, the others an empty one.

    :raises TrainingInterruptedError: if it was asked to end; the same call goes on from there.
    """
    trains = framework(spec.training.framework)
    trains.make_deterministic(spec.training.seed, spec.accelerator.threads)
    with trains.process_group() as (rank, world), _scratch(spec, is_first=rank == 0):
        return _train(spec, Place(trains, rank, world, Notice()), seconds)


def _train(spec: Spec, place: Place, seconds: Stopwatch) -> dict[str, Any]:
    with seconds("data"):
        rows = fetch(spec)
        window, held_out = rows.span(*spec.train_days), rows.span(*spec.holdout_days)
        data.check(window, spec, f"training window {spec.train_days[0]} to {spec.train_days[1]}")
        data.check(held_out, spec, f"hold-out {spec.holdout_days[0]} to {spec.holdout_days[1]}")
        holdout = window_of(held_out.table(), spec)
    training = spec.training
    judged, epochs = fit(spec, training, place, window, holdout, seconds)
    served, learned = judged, window
    if training.refit:
        learned = (window | held_out).newest(training.window_days)
        log.info("Learn again from %s rows, %s to %s", len(learned), learned.days[0], learned.days[-1])
        again = training.model_copy(update={"epochs": epochs, "patience": None})
        served, _ = fit(spec, again, place, learned, holdout, seconds)
    if judged is None or served is None:
        return {}
    features = training.features
    with seconds("importance"):
        sample = window_of(window.sample(SAMPLE_ROWS, spec.training.seed), spec)
        importance = importance_of(judged.trainer.predict, judged.preprocessor, (sample, holdout), judged.task)
    with seconds("export"):  # of what is served: the recipe that was judged is known by its answers
        content = export.export(served.preprocessor, served.trainer.graph(served.preprocessor.layout.width))
        predictions, parity = export.check_same(content, holdout.columns, served.predictions, features, served.task)
    with seconds("baseline"):
        tree = _baseline(spec, judged, window, holdout)
    everyone, labels, (known, simple) = judged.task.compare(
        holdout.labels, (judged.task, judged.predictions), (judged.task, tree)
    )
    manifest = {
        **_about_data(spec, learned, len(holdout)),
        "recipe_days": list(spec.train_days),  # what the judged answers had been learned from
        "task": served.task.as_dict(),
        "labels": served.task.summary(served.labels),
        "sha256": artefact.sha256_of(content),
        "metrics": metrics(everyone, labels, known),
        "baseline": metrics(everyone, labels, simple),
        "categories": served.seen.categories,
        "ranges": served.seen.ranges,
        "parity": parity,
        "importance": importance,
        **_about_steps(spec, judged.curves),
    }
    answered = artefact.with_answers(holdout.table, served.task, predictions)
    if served is not judged:
        answered = artefact.with_answers(answered, judged.task, judged.predictions, prefix=artefact.JUDGED)
    reference = _reference(spec, served.task, content, learned)
    return store(spec, manifest, Files(content, answered, reference), seconds)


def fit(  # noqa: PLR0913  what is learned, from what, where
    spec: Spec, training: Training, place: Place, span: Span, holdout: Window, seconds: Stopwatch
) -> tuple[Fitted | None, int]:
    """Fit preprocessing and network to a window; the hold-out is only looked at.

    :returns: nothing in any process but the first; and how many epochs were best.
    """
    place.framework.make_deterministic(training.seed, spec.accelerator.threads)
    with seconds("data"):
        span, aside = set_aside(span) if training.patience else (span, None)
        log.info("Learn from %s rows, look at %s held out", len(span), len(holdout))
        ready = data.make_ready(span, spec)
        held_out = ready.seen_by_network(holdout)
        validation = ready.seen_by_network(window_of(aside.table(), spec)) if aside else None
    with seconds("steps"):
        task = ready.task
        trainer = place.framework.build(training, ready.layout, task, ready.labels)
        judge = partial(_qualities, task, data.as_floats(task, holdout.labels))
        kept = _checkpoints(spec, training, span, place)
        batches = ready.batches(training, place.rank, place.world)
        curves = trainer.fit(batches, held_out, judge, kept, place.notice, validation)
    if place.rank:
        return None, curves.best_epoch
    predictions = trainer.predict(held_out[0])
    labels = ready.labels.astype(np.float64)
    return Fitted(task, ready.preprocessor, trainer, predictions, labels, ready.seen, curves), curves.best_epoch


def set_aside(span: Span) -> tuple[Span, Span]:
    """Part a window into what is learned from and the newest tenth of its days, which says when to stop.

    :raises NotEnoughDataError: if the window has too few days for that.
    """
    num_days = len(span.days)
    aside = max(1, round(VALIDATION_SHARE * num_days))
    if num_days - aside < 1:
        raise NotEnoughDataError(
            f"The training window has {num_days} labelled day: `training.patience` needs two or more, of which the "
            "newest tenth says when to stop. Ingest more days, or leave `patience` out."
        )
    return Span(span.rows, span.first, span.last - aside), span.newest(aside)


@contextmanager
def _scratch(spec: Spec, *, is_first: bool) -> Iterator[None]:
    """Remove what is only needed until there is a model, or where another try would end the same."""
    try:
        yield
    except ValueError:
        shutil.rmtree(spec.scratch, ignore_errors=True)
        raise
    if is_first:
        shutil.rmtree(spec.scratch, ignore_errors=True)


def _checkpoints(spec: Spec, training: Training, span: Span, place: Place) -> Checkpoints:
    """Return where the state of fitting a window is kept; the recipe is all that the weights depend on."""
    recipe = f"{spec.fingerprint}, {training.epochs} epochs, {span.days}, {place.framework.version()}, {place.world}"
    folder = spec.checkpoints or str(spec.scratch / "checkpoints")
    return Checkpoints(f"{folder}/{span.days[0]}-{span.days[-1]}", recipe, training.checkpoint_seconds)


def _qualities(task: Task, labels: Floats, predictions: Floats) -> dict[str, float]:
    return {name: quality(name, labels, predictions) for name in metrics_of(task.name)}


def _baseline(spec: Spec, judged: Fitted, span: Span, holdout: Window) -> Floats:
    """Return what a boosted tree, which learned from the same rows (or many of them), answers to the hold-out."""
    sample = window_of(span.sample(data.SAMPLE_ROWS, spec.training.seed), spec)
    learned = sample.columns, data.as_floats(judged.task, sample.labels)
    return scout(judged.task, learned, holdout.columns, spec.training.features, data.SAMPLE_ROWS)


def _reference(spec: Spec, task: Task, content: bytes, span: Span) -> pa.Table:
    sample = window_of(span.sample(spec.sample_rows, spec.training.seed), spec)
    predictions = artefact.predict(artefact.session_of(content), sample.columns, spec.training.features)
    return artefact.with_answers(sample.table, task, predictions)


def _about_data(spec: Spec, span: Span, holdout_rows: int) -> dict[str, Any]:
    return {
        "pipeline": spec.pipeline,
        "description": load_pipeline(spec.pipeline).description,
        "request_id": spec.request_id,
        "reason": spec.reason,
        "repair": spec.repair,
        "features": spec.training.features.model_dump(),
        "key": spec.key,
        "date": spec.date,
        "target": spec.training.target,
        "snapshot_id": spec.snapshot_id,
        "train_days": [span.days[0], span.days[-1]],
        "holdout_days": list(spec.holdout_days),
        "train_rows": len(span),
        "holdout_rows": holdout_rows,
    }


def _about_steps(spec: Spec, curves: Curves) -> dict[str, Any]:
    return {
        "losses": curves.loss,
        "curves": curves.as_dict(),
        "seed": spec.training.seed,
        "parameters": spec.training.model_dump(exclude={"features", "target"}),
        "accelerator": {"name": spec.training.accelerator, **spec.accelerator.model_dump()},
        "tracking_run": "",
        "seconds": {},
    }
