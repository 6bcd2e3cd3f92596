"""This file measures how far estimated quality is from the truth, week by week of 2013, for models of several ages."""

import os
from datetime import date, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from bench.night import PIPELINE, deliveries_of_their_own, ingest
from bench.season import NOBODY, train_on
from include import artefact, lake
from include.config import load_pipeline
from include.evaluation import metrics
from include.learning.kinds import labels_of
from include.ledger import Release
from include.monitoring.baseline import baseline_of
from include.monitoring.estimation import Holdout, error_of, estimate
from include.partition import days_between
from include.settings import load_settings
from include.training.data import feature_columns

FIRST_WEEK = date(2013, 3, 12)
WEEKS = 42
TRAINED_EVERY_WEEKS = 8
METRICS = ("log_loss", "auc")


def measure() -> dict[str, Any]:
    """Return the mean absolute error of the estimate over weeks, and each week's estimate and truth.

    `as_trained`: a model trained every eight weeks (56 days, 14 more held out), each asked about the eight weeks after;
    `winter`: the first of them, asked about the whole rest of the year. Every number is on rows no model had seen.
    """
    weeks = [FIRST_WEEK + timedelta(weeks=number) for number in range(WEEKS)]
    with deliveries_of_their_own("estimation"):
        os.environ["MLFLOW_TRACKING_URI"] = NOBODY
        ingest(days_between(date(2013, 1, 1), date(2013, 12, 31)), "year")
        models = [_model_before(week) for week in weeks[::TRAINED_EVERY_WEEKS]]
        winter = [_week(models[0], week) for week in weeks]
        kept = [_week(models[number // TRAINED_EVERY_WEEKS], week) for number, week in enumerate(weeks)]
    return {
        "mean_abs_error": _mean_abs_error(kept),
        "mean_abs_error_winter": _mean_abs_error(winter),
        "without_estimate": _mean_abs_change(kept),
        "by_week": {week["from"]: week for week in kept},
        "by_week_winter": {week["from"]: week for week in winter},
    }


def _model_before(week: date) -> tuple[Release, Holdout]:
    pipeline = load_pipeline(PIPELINE)
    holdout_from, train_from = week - timedelta(days=14), week - timedelta(days=14 + 56)
    release = train_on(
        (train_from.isoformat(), (holdout_from - timedelta(days=1)).isoformat()),
        (holdout_from.isoformat(), (week - timedelta(days=1)).isoformat()),
    )
    cache = load_settings().lake / PIPELINE / "reports" / "drift"
    holdout = baseline_of(pipeline, release, pa.table({}), cache).holdout
    if holdout is None:
        raise RuntimeError(f"{release.model_uri} has no hold-out.")
    return release, holdout


def _week(model: tuple[Release, Holdout], first: date) -> dict[str, Any]:
    release, holdout = model
    pipeline = load_pipeline(PIPELINE)
    features = artefact.features_of(artefact.read_manifest(release.model_uri))
    days = first.isoformat(), (first + timedelta(days=6)).isoformat()
    rows = lake.read_clean(PIPELINE, *days, [pipeline.training.target, *features.names])
    labels = labels_of(rows, pipeline.training.task, pipeline.training.target)
    rows, labels = rows.filter(pc.is_valid(labels)), labels.drop_null()
    session = artefact.load_session(release.model_uri, release.sha256)
    predictions = artefact.predict(session, feature_columns(rows, features), features).astype(np.float64)
    estimated = estimate(holdout, predictions)
    true = metrics(holdout.task, holdout.task.encode(labels).astype(np.float64), predictions)
    error = error_of(estimated, {"state": "known", **true})
    return {
        "from": days[0],
        "rows": len(rows),
        "estimated": {name: round(estimated[name], 4) for name in METRICS},
        "true": {name: round(true[name], 4) for name in METRICS},
        "error": {name: round(error[name], 4) for name in METRICS},
        "holdout": {name: round(release.metrics[name], 4) for name in METRICS},
    }


def _mean_abs_error(weeks: list[dict[str, Any]]) -> dict[str, float]:
    return {name: round(float(np.mean([abs(week["error"][name]) for week in weeks])), 4) for name in METRICS}


def _mean_abs_change(weeks: list[dict[str, Any]]) -> dict[str, float]:
    """Return the error of who takes the hold-out's quality for this week's: what an estimate has to beat."""
    return {
        name: round(float(np.mean([abs(week["holdout"][name] - week["true"][name]) for week in weeks])), 4)
        for name in METRICS
    }
