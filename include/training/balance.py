"""This file says how much a row of each class counts in a training's loss."""

import numpy as np
import numpy.typing as npt

from include.errors import ConfigError
from include.learning.multiclass import Multiclass
from include.learning.task import Task
from include.recipe import Training

BINARY = ("false", "true")


def weights_of(training: Training, task: Task, labels: npt.NDArray[np.float32]) -> npt.NDArray[np.float32] | None:
    """Return a weight per class, in the order of encoded labels, so that the mean row weighs 1; none: all the same.

    :param labels: of the window, encoded. "balanced" is n / (classes x rows of the class), as scikit-learn's.
    :raises ConfigError: if the YAML weighs what is no class of this task.
    """
    asked = training.class_weights
    if asked is None:
        return None
    if task.name == "regression":
        raise ConfigError("'training.class_weights' needs classes; 'training.task' is regression, which has none.")
    names = list(task.classes) if isinstance(task, Multiclass) else list(BINARY)
    counts = np.bincount(labels.astype(np.int64), minlength=len(names)).astype(np.float64)
    if asked == "balanced":
        weights = counts.sum() / (len(names) * np.maximum(counts, 1))
    else:
        if unknown := set(asked) - set(names):
            raise ConfigError(f"'training.class_weights' names {sorted(unknown)}. Classes of these data: {names}.")
        weights = np.array([asked.get(name, 1.0) for name in names])
    mean = float((weights * counts).sum() / counts.sum())
    return (weights / mean).astype(np.float32)
