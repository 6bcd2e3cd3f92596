"""This file measures what only labels can tell: their own drift, calibration, groups of rows, and a changed world.

All pure. Where there are too few labels, each says "unknown" and why.
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from include.evaluation import quality
from include.learning.metrics import gain
from include.learning.scoring import Floats
from include.learning.task import LABEL, Task
from include.monitoring.drift import SMALLEST_EFFECT, column_of
from include.monitoring.estimation import Holdout
from include.monitoring.noise import distance_of
from include.monitoring.quality import Labelled
from include.pipeline import Pipeline
from include.policy import Governor

BINS = 10
SMALLEST_ERROR = 0.05  # of a probability, or of a spread: calibration this good is never called lost


def unknown(why: str) -> dict[str, Any]:
    """Return the measure of what cannot be said."""
    return {"state": "unknown", "why": why}


def label_drift(
    window: Labelled, reference: pa.Table, noise: Mapping[str, float], noise_factor: float
) -> dict[str, Any]:
    """Return how far a window's labels lie from the training window's, judged as a column is."""
    labels = window.rows[LABEL]
    if LABEL not in reference.column_names:
        return unknown("the training window's sample has no labels")
    then = reference[LABEL].drop_null()
    if then.type != labels.type:
        return unknown(f"labels were {then.type} in training and are {labels.type} now")
    effect = distance_of(then.type)(labels, then)
    if effect is None:
        return unknown("all labels are alike")
    found = column_of(None, effect, max(SMALLEST_EFFECT, noise_factor * noise.get(LABEL, 0.0)))
    now, before = (window.task.summary(window.task.encode(values)) for values in (labels, then))
    return {**asdict(found), "now": now, "in_training": before}


def calibration_error(task: Task, labels: Floats, predictions: Floats) -> tuple[float, float]:
    """Return (expected calibration error, mean answer less mean outcome).

    Ten groups of equally many rows by answer; the mean distance of their mean answer and outcome (Naeini et al. 2015,
    "Obtaining well calibrated probabilities using Bayesian binning"). Multiclass: the likeliest class's probability and
    whether it was right. Regression: in spreads of the training window's labels.
    """
    said, came = _said_and_came(task, labels, predictions)
    groups = [group for group in np.array_split(np.argsort(said, kind="stable"), BINS) if len(group)]
    error = sum(abs(float(said[group].mean() - came[group].mean())) * len(group) for group in groups) / len(said)
    return error, float(said.mean() - came.mean())


def calibration_drift(window: Labelled, holdout: Holdout, noise_factor: float) -> dict[str, Any]:
    """Return the calibration error, "drifted" where it is clearly above that of the hold-out's worst single day."""
    error, bias = calibration_error(holdout.task, window.labels, window.predictions)
    worst = max(
        calibration_error(holdout.task, holdout.labels[rows], holdout.predictions[rows])[0]
        for rows in (holdout.days == day for day in np.unique(holdout.days))
    )
    threshold = max(SMALLEST_ERROR, noise_factor * worst)
    state = "drifted" if error > threshold else "stable"
    return {"state": state, "error": round(error, 6), "threshold": round(threshold, 6), "bias": round(bias, 6)}


def slice_quality(window: Labelled, pipeline: Pipeline, holdout_quality: float | None) -> dict[str, Any]:
    """Return the quality of each group of `gate.slices`, "drifted" where one is too far below the whole hold-out's."""
    policy, metric = pipeline.gate, pipeline.governor.metric
    columns = [name for name in policy.slices if name in window.rows.column_names]
    if not columns:
        return unknown("no column of the answers is named under `gate.slices`")
    groups = {
        f"{column}={value}": group
        for column in columns
        for value, group in _groups(window, column, pipeline)
        if group["rows"] >= policy.min_slice_rows and np.isfinite(group[metric])
    }
    if not groups:
        return unknown(f"no group has the {policy.min_slice_rows} labelled rows of `gate.min_slice_rows`")
    if holdout_quality is None:
        return {**unknown("the version's quality on its hold-out is not known"), "groups": groups}
    lost = {name: float(gain(metric, holdout_quality, group[metric])) for name, group in groups.items()}
    worse = [f"{name} is {drop:.4f} worse" for name, drop in lost.items() if drop > pipeline.governor.max_quality_drop]
    return {"state": "drifted" if worse else "stable", "why": "; ".join(worse), "groups": groups}


def _groups(window: Labelled, column: str, pipeline: Pipeline) -> Iterator[tuple[str, dict[str, Any]]]:
    metric, prices = pipeline.governor.metric, window.task.prices(pipeline.gate.costs)
    values = pc.fill_null(pc.cast(window.rows[column], pa.string()), "(missing)").to_numpy()
    for value in sorted(set(values)):
        rows = values == value
        found = quality(metric, window.labels[rows], window.predictions[rows], prices)
        yield value, {"rows": int(rows.sum()), metric: round(found, 6)}


def concept_drift(
    drop: float | None, policy: Governor, drift: Mapping[str, Any], error: Mapping[str, float]
) -> dict[str, Any]:
    """Say whether the world has changed in a way that features do not show: performance lost while they are stable.

    :param drop: how much worse than on the hold-out the answers were; None if that is not known.
    """
    if drop is None:
        return unknown("quality is not known, here or on the hold-out")
    lost = f"{policy.metric} is {abs(drop):.4f} {'worse' if drop > 0 else 'better'} than on the hold-out"
    if drop <= policy.max_quality_drop:
        return {"state": "no", "why": f"{lost} (allowed: {policy.max_quality_drop:g} worse)"}
    if drift["state"] == "stable":
        return {"state": "yes", "why": f"{lost}, and what the model relies on has not moved"}
    if drift["state"] == "unknown":
        return unknown(f"{lost}, but drift is not known: {drift['why']}")
    missed = error.get(policy.metric)
    told = "" if missed is None else f"; the estimate, which knows the features alone, was {missed:+.4f} off"
    return unknown(f"{lost}, but what the model relies on has moved as well{told}")


def _said_and_came(task: Task, labels: Floats, predictions: Floats) -> tuple[Floats, Floats]:
    if predictions.ndim == 2:
        return predictions.max(axis=1), (predictions.argmax(axis=1) == labels).astype(np.float64)
    return np.asarray(predictions, dtype=np.float64) / task.scale, labels / task.scale
