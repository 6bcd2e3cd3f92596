"""This file measures how much a model relies on each raw column: what shuffling it costs."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime

from include.features import OUTPUT, model_inputs
from include.learning.metrics import GOVERNOR_DEFAULT, gain
from include.learning.scoring import Floats, resampled
from include.learning.task import Task
from include.recipe import Features
from include.training.data import Window

SAMPLE_ROWS, FEWEST_ROWS = 5000, 100
# Each column asks the model about every row, with all columns: wide tables get fewer rows, not longer trainings.
MOST_CELLS = 10_000_000
_SEED = 7


def importance_of(
    session: onnxruntime.InferenceSession, windows: Iterable[Window], features: Features, task: Task
) -> dict[str, float]:
    """Return by how much the loss (log-loss, or RMSE) rises when a column's values are shuffled, by column.

    Permutation importance (Breiman 2001, "Random forests"), on a seeded sample of each window: the largest counts. On
    held-out rows it says what helps, on the training window also what the model relies on in vain, or only in weather
    that the hold-out did not have. What is not above its own standard error over days (jackknife), or below nought, is
    noise and counts as 0. Columns that say the same share their importance.
    """
    found = [_rises(session, window, features, task) for window in windows]
    return {name: max(rise[name] for rise in found) for name in features.names}


def _rises(session: onnxruntime.InferenceSession, window: Window, features: Features, task: Task) -> dict[str, float]:
    rows = _sampled(len(window), len(features.names))
    inputs = {name: values[rows] for name, values in model_inputs(window.columns, features).items()}
    labels = task.encode(window.labels).astype(np.float64)[rows]
    blocks = np.unique(window.days[rows], return_inverse=True)[1]
    metric = GOVERNOR_DEFAULT[task.name]

    def loss(changed: Mapping[str, npt.NDArray[Any]]) -> Floats:
        predictions = session.run([OUTPUT], {**inputs, **changed})[0]
        return resampled(metric, labels, predictions, blocks, weights)

    num_days = int(blocks.max()) + 1
    # The first line takes all days, each other one leaves one day out.
    weights = np.vstack([np.ones(num_days), 1 - np.eye(num_days)])[: None if num_days > 1 else 1]
    random, whole = np.random.default_rng(_SEED), loss({})
    shuffled = {name: loss({name: random.permutation(values)}) for name, values in inputs.items()}
    return {name: _unless_noise(gain(metric, whole, found)) for name, found in shuffled.items()}


def _sampled(num_rows: int, num_columns: int) -> npt.NDArray[np.intp]:
    kept = min(num_rows, SAMPLE_ROWS, max(MOST_CELLS // num_columns**2, FEWEST_ROWS))
    return np.sort(np.random.default_rng(_SEED).choice(num_rows, kept, replace=False))


def _unless_noise(risen: Floats) -> float:
    value, left_out = float(risen[0]), risen[1:]
    num_days = len(left_out)
    error = float(np.sqrt((num_days - 1) / num_days * ((left_out - left_out.mean()) ** 2).sum())) if num_days else 0.0
    return round(value, 6) if value > max(error, 1e-6) else 0.0
