"""This file puts together all that is measured on one version's answers of one day, each with its state or value."""

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from include.learning.metrics import gain
from include.learning.task import LABEL, PREDICTION
from include.monitoring import estimation, outcomes
from include.monitoring.baseline import Baseline
from include.monitoring.drift import Show, as_measures, measure_drift, plain_share, sample, weighted_share
from include.monitoring.inputs import measure_inputs
from include.monitoring.outcomes import unknown
from include.monitoring.quality import Labelled, labelled_of, measure_quality
from include.monitoring.relevance import weights_of
from include.pipeline import Pipeline

Measures = dict[str, Any]
OUTCOMES = ("labels", "calibration", "slices", "concept")  # what is unknown until labels arrive
NO_HOLDOUT = "the version's hold-out, with labels and answers, is not there"


def assess(pipeline: Pipeline, rows: pa.Table, baseline: Baseline, show_drift: Show, show_quality: Show) -> Measures:
    """Return the measures of a window, and show drift and quality to people where there is something to see.

    Drift, the columns' own quality and the estimate look at a seeded sample of `monitoring.sample_rows`.
    """
    sampled = sample(rows, pipeline.monitoring.sample_rows)
    labelled = labelled_of(rows, baseline.task, pipeline)
    drift = _drift(pipeline, sampled, len(rows), baseline, show_drift)
    if isinstance(labelled, str):
        quality, error = unknown(labelled), dict[str, float]()
        told = dict.fromkeys(OUTCOMES, unknown(labelled))
        estimate = _estimate(pipeline, sampled, baseline)
    else:
        quality = measure_quality(labelled, len(rows), pipeline, show_quality)
        estimate = _estimate(pipeline, sampled, baseline)
        error = _error(pipeline, sampled, baseline, estimate, quality)
        told = _outcomes(pipeline, labelled, baseline, quality, drift, error)
    return {
        "quality": quality,
        "drift": drift,
        "prediction": drift["columns"].get(PREDICTION, unknown(drift["why"])),
        "inputs": _inputs(sampled, baseline),
        "estimate": estimate,
        "estimate_error": error,
        **told,
    }


def _drift(pipeline: Pipeline, sampled: pa.Table, num_rows: int, baseline: Baseline, show: Show) -> Measures:
    if baseline.reference is None:
        return {**unknown(baseline.why), "share": None, "columns": {}}
    weights = weights_of(baseline.manifest, baseline.features)
    columns = measure_drift(
        sampled,
        baseline.reference,
        baseline.features,
        noise=baseline.noise,
        weights=weights.shares,
        policy=pipeline.monitoring,
        show=show,
    )
    share = weighted_share(columns)
    state, why = _state_of(share, num_rows, pipeline)
    return {
        "state": state,
        "why": " ".join(filter(None, (why, weights.why))),
        "share": share,
        "plain_share": plain_share(columns, baseline.features),
        "weighted_by": weights.by,
        "columns": as_measures(columns),
    }


def _state_of(share: float | None, num_rows: int, pipeline: Pipeline) -> tuple[str, str]:
    needed, most = pipeline.governor.min_rows, pipeline.governor.max_drifted_share
    if share is None:
        return "unknown", "Nothing that the model relies on can be compared."
    if num_rows < needed:
        return "unknown", f"{num_rows} rows, at least {needed} are needed."
    return ("drifted" if share >= most else "stable"), ""


def _inputs(sampled: pa.Table, baseline: Baseline) -> Measures:
    if baseline.reference is None:
        return unknown(baseline.why)
    return measure_inputs(sampled, baseline.reference, baseline.features, baseline.manifest)


def _estimate(pipeline: Pipeline, sampled: pa.Table, baseline: Baseline) -> Measures:
    if baseline.holdout is None:
        return unknown(NO_HOLDOUT)
    answered = sampled.filter(pc.is_valid(sampled[PREDICTION]))
    prices = baseline.task.prices(pipeline.gate.costs)
    return estimation.estimate(baseline.holdout, baseline.task.recorded(answered), prices)


def _error(
    pipeline: Pipeline, sampled: pa.Table, baseline: Baseline, estimate: Measures, quality: Measures
) -> dict[str, float]:
    """Return the error of the estimate for the rows whose labels are there."""
    labelled = sampled.filter(pc.is_valid(sampled[LABEL]))
    if len(labelled) < len(sampled):
        estimate = _estimate(pipeline, labelled, baseline)
    return estimation.error_of(estimate, quality)


def _outcomes(  # noqa: PLR0913  all that labels are held against
    pipeline: Pipeline,
    labelled: Labelled,
    baseline: Baseline,
    quality: Measures,
    drift: Measures,
    error: dict[str, float],
) -> Measures:
    factor, needed = pipeline.monitoring.noise_factor, pipeline.governor.min_rows
    if len(labelled) < needed:
        return dict.fromkeys(OUTCOMES, unknown(f"{len(labelled)} labelled rows, at least {needed} are needed"))
    metric = pipeline.governor.metric
    is_known = baseline.quality is not None and metric in quality
    drop = float(gain(metric, baseline.quality, quality[metric])) if is_known else None
    return {
        "labels": outcomes.label_drift(labelled, baseline.reference, baseline.noise, factor)
        if baseline.reference is not None
        else unknown(baseline.why),
        "calibration": outcomes.calibration_drift(labelled, baseline.holdout, factor)
        if baseline.holdout is not None
        else unknown(NO_HOLDOUT),
        "slices": outcomes.slice_quality(labelled, pipeline, baseline.quality),
        "concept": outcomes.concept_drift(drop, pipeline.governor, drift, error),
    }
