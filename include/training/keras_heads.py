"""This file is what a learning task asks of a Keras network: where it starts, its loss, the answer it is served as."""

from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from keras import ops

from include.learning.metrics import TaskName
from include.learning.multiclass import Multiclass
from include.learning.regression import Regression
from include.learning.task import Task

Labels = npt.NDArray[Any]


class Head(Protocol):
    """What lies between the network's outputs [rows, width] and the task."""

    def start(self, labels: Labels) -> npt.NDArray[np.float32]:
        """Return the outputs [width] with which the first answer to any row is the best constant one."""

    def losses(self, outputs: Any, labels: Any) -> Any:
        """Return each row's loss."""

    def answers(self, outputs: Any) -> Any:
        """Return what is served, shape [rows] or [rows, classes]."""


class BinaryHead:
    """One logit."""

    def start(self, labels: Labels) -> npt.NDArray[np.float32]:
        """Return the base rate's log-odds."""
        rate = float(np.mean(labels, dtype=np.float64))
        return np.array([np.log(rate / (1 - rate))], dtype=np.float32)

    def losses(self, outputs: Any, labels: Any) -> Any:
        """Return the binary cross-entropies."""
        return ops.binary_crossentropy(ops.cast(labels, "float32"), outputs[:, 0], from_logits=True)

    def answers(self, outputs: Any) -> Any:
        """Return probabilities."""
        return ops.sigmoid(outputs[:, 0])


class MulticlassHead:
    """A logit per class."""

    def __init__(self, task: Multiclass) -> None:
        """Note the number of classes."""
        self._num_classes = len(task.classes)

    def start(self, labels: Labels) -> npt.NDArray[np.float32]:
        """Return the logarithm of the classes' shares."""
        return np.log(np.bincount(labels, minlength=self._num_classes) / len(labels)).astype(np.float32)

    def losses(self, outputs: Any, labels: Any) -> Any:
        """Return the cross-entropies; a held-out class that training did not have (-1) is left out."""
        is_known = labels >= 0
        found = ops.sparse_categorical_crossentropy(ops.where(is_known, labels, 0), outputs, from_logits=True)
        return ops.where(is_known, found, 0.0)

    def answers(self, outputs: Any) -> Any:
        """Return probabilities."""
        return ops.softmax(outputs)


class RegressionHead:
    """How many spreads the value lies above the training window's mean."""

    def __init__(self, task: Regression) -> None:
        """Note mean and spread."""
        self._mean, self._spread = np.float32(task.mean), np.float32(task.spread)

    def start(self, labels: Labels) -> npt.NDArray[np.float32]:  # noqa: ARG002  the same for all, in these units
        """Return nought: the mean."""
        return np.zeros(1, dtype=np.float32)

    def losses(self, outputs: Any, labels: Any) -> Any:
        """Return the squared errors in squared spreads."""
        return ops.square(outputs[:, 0] - (ops.cast(labels, "float32") - self._mean) / self._spread)

    def answers(self, outputs: Any) -> Any:
        """Return values in the target's own unit."""
        return outputs[:, 0] * self._spread + self._mean


def head_of(task: Task) -> Head:
    """Return the head that answers for a task."""
    return _HEADS[task.name](task)


_HEADS: dict[TaskName, Any] = {
    "binary": lambda _task: BinaryHead(),
    "multiclass": MulticlassHead,
    "regression": RegressionHead,
}
