"""This file is what a learning task asks of the network: where it starts, its loss, the answer it is served as."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from include.learning.metrics import TaskName
from include.learning.multiclass import Multiclass
from include.learning.regression import Regression
from include.learning.scoring import Floats
from include.learning.task import Task


class Head(nn.Module, ABC):
    """What lies between the network's outputs [rows, width] and the task; `forward` gives the answers."""

    kind = torch.float32  # of encoded labels

    @abstractmethod
    def start(self, labels: Floats) -> Tensor:
        """Return the outputs [width] with which the first answer to any row is the best constant one."""

    @abstractmethod
    def losses(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Return each row's loss; nought for a held-out class that training did not have (-1)."""


class BinaryHead(Head):
    """One logit."""

    def start(self, labels: Floats) -> Tensor:
        """Return the base rate's log-odds."""
        return torch.logit(torch.tensor([float(labels.mean())], dtype=torch.float64)).float()

    def losses(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Return the binary cross-entropies."""
        return functional.binary_cross_entropy_with_logits(outputs.squeeze(1), labels, reduction="none")

    def forward(self, outputs: Tensor) -> Tensor:
        """Return probabilities, shape [rows]."""
        return torch.sigmoid(outputs.squeeze(1))


class MulticlassHead(Head):
    """A logit per class."""

    kind = torch.int64

    def __init__(self, task: Multiclass) -> None:
        """Note the number of classes."""
        super().__init__()
        self.num_classes = len(task.classes)

    def start(self, labels: Floats) -> Tensor:
        """Return the logarithm of the classes' shares."""
        counts = torch.bincount(torch.as_tensor(labels), minlength=self.num_classes)
        return torch.log(counts.double() / counts.sum()).float()

    def losses(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Return the cross-entropies."""
        return functional.cross_entropy(outputs, labels, ignore_index=-1, reduction="none")

    def forward(self, outputs: Tensor) -> Tensor:
        """Return probabilities, shape [rows, classes]."""
        return torch.softmax(outputs, dim=1)


class RegressionHead(Head):
    """How many spreads the value lies above the training window's mean."""

    mean: Tensor
    spread: Tensor

    def __init__(self, task: Regression) -> None:
        """Note mean and spread, which go into the graph."""
        super().__init__()
        self.register_buffer("mean", torch.tensor(task.mean))
        self.register_buffer("spread", torch.tensor(task.spread))

    def start(self, labels: Floats) -> Tensor:  # noqa: ARG002  the same for all, in these units
        """Return nought: the mean."""
        return torch.zeros(1)

    def losses(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Return the squared errors in squared spreads."""
        return functional.mse_loss(outputs.squeeze(1), (labels - self.mean) / self.spread, reduction="none")

    def forward(self, outputs: Tensor) -> Tensor:
        """Return values in the target's own unit, shape [rows]."""
        return outputs.squeeze(1) * self.spread + self.mean


HEADS: dict[TaskName, Callable[[Any], Head]] = {
    "binary": lambda _task: BinaryHead(),
    "multiclass": MulticlassHead,
    "regression": RegressionHead,
}


def head_of(task: Task) -> Head:
    """Return the head that answers for a task."""
    return HEADS[task.name](task)
