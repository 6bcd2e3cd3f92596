"""This file is the task of saying how likely something is."""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from include.errors import ConfigError
from include.learning.scoring import Floats
from include.learning.task import PREDICTION, Labels, Task
from include.policy import ClassCosts, Costs


@dataclass(frozen=True)
class Binary(Task):
    """Two classes; the answer is the probability that the target is true."""

    name = "binary"
    needed_labels = "the two classes"
    fields = (pa.field(PREDICTION, pa.float64()),)

    @classmethod
    def labels(cls, column: pa.ChunkedArray) -> pa.ChunkedArray:
        """Return 0.0 and 1.0; null where there is no label (yet)."""
        kind = column.type
        if pa.types.is_boolean(kind) or pa.types.is_integer(kind) or pa.types.is_floating(kind):
            found = pc.cast(column, pa.float64())
            others = found.filter(pc.invert(pc.is_in(found, value_set=pa.array([0.0, 1.0, None]))))
            if not len(others):
                return found
            held = f"holds {others[0].as_py():g}"
        else:
            held = f"is {kind} in the clean table"
        raise ConfigError(
            f"which {held}: a binary target is true or false, 1 or 0. Derive such a column under `cleaning.derive`, or "
            "say `training.task: multiclass` or `regression`."
        )

    @classmethod
    def learn(cls, labels: Labels) -> Self:  # noqa: ARG003  there is nothing to find out
        """Return the task."""
        return cls()

    def encode(self, labels: Labels) -> npt.NDArray[Any]:
        """Return 0.0 and 1.0."""
        return np.asarray(labels, dtype=np.float64)

    def constant(self, labels: Floats) -> Floats:
        """Return the base rate."""
        return np.full(len(labels), labels.mean() if len(labels) else 0.0)

    def summary(self, labels: Floats) -> dict[str, float]:
        """Return the share of true ones."""
        return {"rate": float(labels.mean())}

    def answers(self, predictions: Floats) -> list[dict[str, Any]]:
        """Return the probability that the target is true."""
        return [{PREDICTION: float(chance)} for chance in predictions]

    def prices(self, costs: Costs | ClassCosts | None) -> Floats | None:
        """Return the two prices; right answers cost nothing."""
        if not isinstance(costs, Costs):
            return None
        return np.array([[0, costs.false_positive], [costs.false_negative, 0]])
