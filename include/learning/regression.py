"""This file is the task of saying how much."""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from include.errors import ConfigError
from include.learning.scoring import Floats
from include.learning.task import PREDICTION, Labels, Task


@dataclass(frozen=True)
class Regression(Task):
    """A number, in the target's own unit."""

    name = "regression"
    needed_labels = "at least two values"
    fields = (pa.field(PREDICTION, pa.float64()),)

    mean: float = 0.0  # of the training window: the network learns how many spreads a label lies away from it
    spread: float = 1.0

    @property
    def scale(self) -> float:
        """Return the training labels' standard deviation."""
        return self.spread

    @classmethod
    def labels(cls, column: pa.ChunkedArray) -> pa.ChunkedArray:
        """Return numbers; what is not finite is no label."""
        kind = column.type
        if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)):
            raise ConfigError(
                f"which is {kind} in the clean table: a regression predicts a number. Derive one under "
                "`cleaning.derive`, or say `training.task: multiclass` or `binary`."
            )
        numbers = pc.cast(column, pa.float64())
        return pc.if_else(pc.is_finite(numbers), numbers, None)

    @classmethod
    def learn(cls, labels: Labels) -> Self:
        """Return the task with mean and spread, as float32 holds them: so does the exported graph."""
        values = np.asarray(labels, dtype=np.float64)
        return cls(float(np.float32(values.mean())), float(np.float32(values.std())))

    def encode(self, labels: Labels) -> npt.NDArray[Any]:
        """Return the values."""
        return np.asarray(labels, dtype=np.float64)

    def constant(self, labels: Floats) -> Floats:
        """Return the mean."""
        return np.full(len(labels), labels.mean() if len(labels) else 0.0)

    def summary(self, labels: Floats) -> dict[str, float]:
        """Return mean, spread and range."""
        return {
            "mean": float(labels.mean()),
            "spread": float(labels.std()),
            "least": float(labels.min()),
            "most": float(labels.max()),
        }

    def answers(self, predictions: Floats) -> list[dict[str, Any]]:
        """Return the value."""
        return [{PREDICTION: float(value)} for value in predictions]
