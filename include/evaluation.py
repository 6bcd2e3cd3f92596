"""This file judges predictions: metrics, paired day-block intervals, and the gate a challenger must pass. All pure."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from include.pipeline import Gate

Floats = npt.NDArray[np.floating[Any]]

_SEED = 20130701
_TINY = 1e-7


@dataclass(frozen=True)
class Interval:
    """A gain measured on rows (positive is better), and where it may lie if other days had come."""

    metric: str
    new: float
    old: float
    gain: float
    low: float
    high: float
    days: int
    rows: int


@dataclass(frozen=True)
class Verdict:
    """What the gate said about a challenger, with its numbers; they are None where nothing could be measured."""

    passed: bool
    metric: str
    challenger: float | None
    champion: float | None
    gain: float | None
    interval: tuple[float, float] | None
    days: int
    rows: int
    reason: str

    def as_dict(self) -> dict[str, Any]:
        """Return the verdict as JSON can hold it."""
        return {**asdict(self), "interval": list(self.interval) if self.interval else None}


def metrics(labels: Floats, predictions: Floats) -> dict[str, float]:
    """Return AUC, log-loss and Brier score.

    :raises ValueError: if there are no rows of one of the two classes, or a prediction is not a number.
    """
    problem = _problem(labels, predictions)
    if problem:
        raise ValueError(f"No metrics can be computed: {problem}.")
    return {name: quality(name, labels, predictions) for name in ("auc", "log_loss", "brier")}


def quality(metric: str, labels: Floats, predictions: Floats) -> float:
    """Return one metric over all rows; NaN for an AUC without both classes."""
    one_block = np.zeros(len(labels), dtype=np.intp)
    return float(_resampled(metric, labels, predictions, one_block, np.ones((1, 1)))[0])


def paired_interval(labels: Floats, new: Floats, old: Floats, days: npt.ArrayLike, *, policy: Gate) -> Interval:
    """Return the gain of the new predictions over the old ones, with an interval from resampling whole days.

    Rows of one day are alike (weather, crowds), so that resampling rows would promise far too narrow an interval.
    Both models are measured on the same resampled days: what makes a day hard for both cancels out.
    """
    names, blocks = np.unique(np.asarray(days), return_inverse=True)
    draws = np.random.default_rng(_SEED).multinomial(
        len(names), np.full(len(names), 1 / len(names)), size=policy.resamples
    )
    weights = np.vstack([np.ones(len(names)), draws])  # The first line is the data as they are.
    measured_new = _resampled(policy.metric, labels, new, blocks, weights)
    measured_old = _resampled(policy.metric, labels, old, blocks, weights)
    gains = measured_new - measured_old if policy.metric == "auc" else measured_old - measured_new
    tail = (1 - policy.confidence) / 2
    low, high = np.nanquantile(gains[1:], [tail, 1 - tail])
    return Interval(
        metric=policy.metric,
        new=float(measured_new[0]),
        old=float(measured_old[0]),
        gain=float(gains[0]),
        low=float(low),
        high=float(high),
        days=len(names),
        rows=len(labels),
    )


def gate(labels: Floats, challenger: Floats, champion: Floats | None, days: npt.ArrayLike, *, policy: Gate) -> Verdict:
    """Say whether a challenger may replace the champion, judged on rows that neither of them was trained on.

    A challenger passes if its gain exceeds `min_gain` and the gain's interval does not reach below minus `margin`. The
    first model has no champion: it must beat the best constant prediction, with the whole interval above nought.
    """
    first = champion is None
    rival = np.full(len(labels), np.mean(labels) if len(labels) else 0.0) if champion is None else champion
    refusal = _refusal(labels, challenger, rival, days)
    if refusal:
        num_days = len(np.unique(np.asarray(days)))
        return Verdict(False, policy.metric, None, None, None, None, num_days, len(labels), f"Refused: {refusal}.")

    found = paired_interval(labels, challenger, rival, days, policy=policy)
    needed = f"above {policy.min_gain:+.4f}, with an interval not below {-policy.margin:+.4f}"
    passed = found.gain > policy.min_gain and found.low >= -policy.margin
    if first:
        needed = "with an interval wholly above 0, as there is no champion yet"
        passed = found.low > 0
    return Verdict(
        passed=passed,
        metric=policy.metric,
        challenger=found.new,
        champion=None if first else found.old,
        gain=found.gain,
        interval=(found.low, found.high),
        days=found.days,
        rows=found.rows,
        reason=_sentence(found, policy, "the constant prediction" if first else "the champion", needed, passed=passed),
    )


def _sentence(found: Interval, policy: Gate, rival: str, needed: str, *, passed: bool) -> str:
    return (
        f"{'Passed' if passed else 'Refused'}: {policy.metric} {found.new:.4f} against {found.old:.4f} of {rival} on "
        f"{found.rows} rows of {found.days} days: gain {found.gain:+.4f}, {policy.confidence:.0%} interval "
        f"[{found.low:+.4f}, {found.high:+.4f}]. Needed: a gain {needed}."
    )


def _refusal(labels: Floats, challenger: Floats, rival: Floats, days: npt.ArrayLike) -> str:
    for name, predictions in (("challenger", challenger), ("champion", rival)):
        problem = _problem(labels, predictions)
        if problem:
            return f"the {name} cannot be measured: {problem}"
    if len(np.unique(np.asarray(days))) < 2:
        return "the hold-out has a single day, and one day says nothing about the next"
    return ""


def _problem(labels: Floats, predictions: Floats) -> str:
    strange = int((~np.isfinite(predictions)).sum())
    if strange:
        return f"{strange} of {len(predictions)} predictions are not finite numbers"
    classes = len(np.unique(labels))
    if classes < 2:
        return f"the {len(labels)} labels hold {classes} of the two classes"
    return ""


def _resampled(
    metric: str, labels: Floats, predictions: Floats, blocks: npt.NDArray[np.intp], weights: Floats
) -> Floats:
    """Return the metric once per line of weights; a line says how often each block (day) was drawn."""
    if metric == "auc":
        return _resampled_auc(labels, predictions, blocks, weights)
    p = np.clip(predictions.astype(np.float64), _TINY, 1 - _TINY)
    losses: Mapping[str, Floats] = {
        "log_loss": -(labels * np.log(p) + (1 - labels) * np.log1p(-p)),
        "brier": (p - labels) ** 2,
    }
    num_blocks = weights.shape[1]
    sums = np.bincount(blocks, losses[metric], num_blocks)
    means: Floats = weights @ sums / (weights @ np.bincount(blocks, minlength=num_blocks))
    return means


def _resampled_auc(labels: Floats, predictions: Floats, blocks: npt.NDArray[np.intp], weights: Floats) -> Floats:
    # AUC counts pairs (positive, negative) in the right order. Pairs are counted once per pair of days; a resample in
    # which day i came twice and day j three times then simply counts that cell six times.
    num_blocks = weights.shape[1]
    levels, level = np.unique(predictions, return_inverse=True)
    cell = level * num_blocks + blocks
    positives = np.bincount(cell, labels, len(levels) * num_blocks).reshape(-1, num_blocks)
    negatives = np.bincount(cell, 1 - labels, len(levels) * num_blocks).reshape(-1, num_blocks)
    below = np.cumsum(negatives, axis=0) - negatives / 2  # An equal prediction is half right.
    ordered = positives.T @ below
    pairs = (weights @ positives.sum(axis=0)) * (weights @ negatives.sum(axis=0))
    with np.errstate(invalid="ignore", divide="ignore"):
        aucs: Floats = ((weights @ ordered) * weights).sum(axis=1) / pairs
    return aucs
