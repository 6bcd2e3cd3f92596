"""This file computes metrics over many resamples of days at once: totals of each day first, then a formula of sums."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating[Any]]
Blocks = npt.NDArray[np.intp]

_TINY = 1e-7


def resampled(  # noqa: PLR0913  what is measured, and how often each day counts
    metric: str, labels: Floats, predictions: Floats, blocks: Blocks, weights: Floats, prices: Floats | None = None
) -> Floats:
    """Return the metric once per line of weights; a line says how often each block (day) was drawn.

    NaN where a resample has nothing to measure, such as an AUC without both classes.

    :param labels: 0 or 1 (binary), number of the class, -1 for one the model does not know (multiclass), or value.
    :param predictions: [rows] probabilities or values, or [rows, classes] probabilities.
    :param prices: [classes, classes], what it costs to answer the column's class where the line's is true.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        if metric == "auc":
            return _auc(labels, predictions, blocks, weights)
        if metric == "macro_f1":
            return _macro_f1(weights @ _hits_and_misses(labels, predictions, blocks, weights.shape[1]))
        if metric in _FORMULAS:
            error = (predictions.astype(np.float64) - labels) ** 2
            centred = labels - labels.mean()  # else the squares of large values drown their spread
            return _FORMULAS[metric](weights @ _sums(blocks, weights.shape[1], error, centred, centred**2))
        loss = _cost(labels, predictions, prices) if metric == "cost" else _LOSSES[metric](labels, predictions)
        sums = _sums(blocks, weights.shape[1], loss)[:, 0]
        means: Floats = weights @ sums / (weights @ np.bincount(blocks, minlength=weights.shape[1]))
        return means


def decide(predictions: Floats, prices: Floats) -> npt.NDArray[np.intp]:
    """Return for each row the class whose answer is expected to cost least, if the probabilities are right."""
    chances = np.column_stack([1 - predictions, predictions]) if predictions.ndim == 1 else predictions
    chosen: npt.NDArray[np.intp] = np.argmin(chances @ prices, axis=1)
    return chosen


def _log_loss(labels: Floats, predictions: Floats) -> Floats:
    p = np.clip(predictions.astype(np.float64), _TINY, 1 - _TINY)
    if p.ndim == 1:
        return -(labels * np.log(p) + (1 - labels) * np.log1p(-p))
    number = labels.astype(np.intp)
    return -np.log(np.where(number < 0, _TINY, p[np.arange(len(p)), number]))


def _is_wrong(labels: Floats, predictions: Floats) -> Floats:
    said = predictions.argmax(axis=1) if predictions.ndim == 2 else predictions >= 0.5
    return (said != labels).astype(np.float64)


def _cost(labels: Floats, predictions: Floats, prices: Floats | None) -> Floats:
    if prices is None:
        raise ValueError("'cost' cannot be measured without prices: say `gate.costs`.")
    found: Floats = prices[labels.astype(np.intp), decide(predictions, prices)]
    return found


_LOSSES: Mapping[str, Callable[[Floats, Floats], Floats]] = {
    "log_loss": _log_loss,
    "brier": lambda labels, predictions: (np.clip(predictions.astype(np.float64), _TINY, 1 - _TINY) - labels) ** 2,
    "accuracy": lambda labels, predictions: 1 - _is_wrong(labels, predictions),
    "mae": lambda labels, predictions: np.abs(predictions.astype(np.float64) - labels),
}


def _rmse(totals: Floats) -> Floats:
    error, _, _, rows = totals.T
    return np.sqrt(error / rows)


def _r2(totals: Floats) -> Floats:
    error, label, squared, rows = totals.T
    spread = squared - label**2 / rows
    return np.where(spread > 1e-12 * squared, 1 - error / spread, np.nan)


_FORMULAS: Mapping[str, Callable[[Floats], Floats]] = {"rmse": _rmse, "r2": _r2}


def _macro_f1(totals: Floats) -> Floats:
    # A class that neither occurs nor is answered in a resample has no F1 there; scikit-learn leaves it out, too.
    hits, true, said = np.split(totals, 3, axis=1)
    return np.nanmean(2 * hits / (true + said), axis=1)


def _hits_and_misses(labels: Floats, predictions: Floats, blocks: Blocks, num_blocks: int) -> Floats:
    classes = predictions.shape[1]
    number, said = labels.astype(np.intp), predictions.argmax(axis=1)

    def per_class(which: npt.NDArray[np.intp], rows: npt.NDArray[np.bool_]) -> Floats:
        cells = np.bincount(blocks[rows] * classes + which[rows], minlength=num_blocks * classes)
        return cells.reshape(num_blocks, classes).astype(np.float64)

    return np.hstack([per_class(number, number == said), per_class(number, number >= 0), per_class(said, said >= 0)])


def _sums(blocks: Blocks, num_blocks: int, *columns: Floats) -> Floats:
    columns = (*columns, np.ones(len(blocks)))
    return np.column_stack([np.bincount(blocks, column, num_blocks) for column in columns])


def _auc(labels: Floats, predictions: Floats, blocks: Blocks, weights: Floats) -> Floats:
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
    aucs: Floats = ((weights @ ordered) * weights).sum(axis=1) / pairs
    return aucs
