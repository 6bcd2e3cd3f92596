"""This file measures how much a model relies on each raw column: what shuffling it costs."""

from collections.abc import Callable, Iterable

import numpy as np
import numpy.typing as npt

from include.learning.metrics import GOVERNOR_DEFAULT, gain
from include.learning.scoring import Floats, resampled
from include.learning.task import Task
from include.training.data import Window
from include.training.preprocessing import Matrix, Preprocessor

SAMPLE_ROWS, FEWEST_ROWS = 5000, 100
# Each column asks the model about every row, with all columns: wide tables get fewer rows, not longer trainings.
MOST_CELLS = 10_000_000
_SEED = 7

Predict = Callable[[Matrix], Matrix]


def importance_of(
    predict: Predict, preprocessor: Preprocessor, windows: Iterable[Window], task: Task
) -> dict[str, float]:
    """Return by how much the loss (log-loss, or RMSE) rises when a column's values are shuffled, by column.

    Permutation importance (Breiman 2001, "Random forests"), on a seeded sample of each window: the largest counts. On
    held-out rows it says what helps, on the training window also what the model relies on in vain, or only in weather
    that the hold-out did not have. What is not above its own standard error over days (jackknife), or below nought, is
    noise and counts as 0. Columns that say the same share their importance.

    :param predict: the network's answers to preprocessed rows: a raw column's stretch of these is what is shuffled.
    """
    found = [_rises(predict, preprocessor, window, task) for window in windows]
    return {name: max(rise[name] for rise in found) for name in preprocessor.features.names}


def _rises(predict: Predict, preprocessor: Preprocessor, window: Window, task: Task) -> dict[str, float]:
    rows = _sampled(len(window), len(preprocessor.features.names))
    matrix = preprocessor.transform({name: values[rows] for name, values in window.columns.items()})
    labels = task.encode(window.labels).astype(np.float64)[rows]
    blocks = np.unique(window.days[rows], return_inverse=True)[1]
    metric = GOVERNOR_DEFAULT[task.name]

    def loss(changed: Matrix) -> Floats:
        return resampled(metric, labels, predict(changed).astype(np.float64), blocks, weights)

    num_days = int(blocks.max()) + 1
    # The first line takes all days, each other one leaves one day out.
    weights = np.vstack([np.ones(num_days), 1 - np.eye(num_days)])[: None if num_days > 1 else 1]
    random, whole = np.random.default_rng(_SEED), loss(matrix)
    shuffled = {}
    for name, stretch in zip(preprocessor.features.names, preprocessor.layout.stretches, strict=True):
        changed = matrix.copy()
        changed[:, stretch] = random.permutation(matrix[:, stretch])
        shuffled[name] = loss(changed)
    return {name: _unless_noise(gain(metric, whole, found)) for name, found in shuffled.items()}


def _sampled(num_rows: int, num_columns: int) -> npt.NDArray[np.intp]:
    kept = min(num_rows, SAMPLE_ROWS, max(MOST_CELLS // num_columns**2, FEWEST_ROWS))
    return np.sort(np.random.default_rng(_SEED).choice(num_rows, kept, replace=False))


def _unless_noise(risen: Floats) -> float:
    value, left_out = float(risen[0]), risen[1:]
    num_days = len(left_out)
    error = float(np.sqrt((num_days - 1) / num_days * ((left_out - left_out.mean()) ** 2).sum())) if num_days else 0.0
    return round(value, 6) if value > max(error, 1e-6) else 0.0
