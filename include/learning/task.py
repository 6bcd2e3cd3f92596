"""This file says what a learning task is to everything around the network: labels, answers, and what can be judged."""

from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Self, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from include.learning.metrics import TaskName
from include.learning.scoring import Floats
from include.policy import ClassCosts, Costs

LABEL = "label"
PREDICTION = "prediction"  # the answer in one word or number, comparable with the label
Labels: TypeAlias = pa.Array | pa.ChunkedArray


@dataclass(frozen=True)
class Task(ABC):
    """One kind of answer, together with what a training found out about its labels."""

    name: ClassVar[TaskName]
    needed_labels: ClassVar[str]
    fields: ClassVar[tuple[pa.Field, ...]]  # columns that hold an answer

    @classmethod
    @abstractmethod
    def labels(cls, column: pa.ChunkedArray) -> pa.ChunkedArray:
        """Return a column of the clean table as labels are kept in files; null where there is none.

        :raises ConfigError: if the column cannot be this task's target; the message goes on after its name.
        """

    @classmethod
    @abstractmethod
    def learn(cls, labels: Labels) -> Self:
        """Return the task as the labels of a training window show it."""

    @classmethod
    def from_answers(cls, table: pa.Table) -> Self:  # noqa: ARG003  for those who know more than their name
        """Return the task as far as recorded answers show it, where the model that gave them is lost."""
        return cls()

    @abstractmethod
    def encode(self, labels: Labels) -> npt.NDArray[Any]:
        """Return labels, as files keep them, as numbers to train and judge with."""

    @abstractmethod
    def constant(self, labels: Floats) -> Floats:
        """Return the prediction for each row of who knows how labels are spread, and nothing else."""

    @abstractmethod
    def summary(self, labels: Floats) -> dict[str, float]:
        """Return in a few numbers how encoded labels are spread."""

    @abstractmethod
    def answers(self, predictions: Floats) -> list[dict[str, Any]]:
        """Return each row's answer as JSON and files hold it: `prediction`, and what else there is to say."""

    @property
    def scale(self) -> float:
        """Return the size of a noticeable difference between two answers."""
        return 1.0

    def columns(self, predictions: Floats) -> dict[str, pa.Array]:
        """Return the answers as columns of a file."""
        return {PREDICTION: pa.array(predictions.astype(np.float64))}

    def recorded(self, table: pa.Table | pa.RecordBatch) -> Floats:
        """Return the predictions that a file's columns hold."""
        return np.asarray(table.column(PREDICTION).to_numpy(zero_copy_only=False), dtype=np.float64)

    def compare(self, labels: Labels, *predictions: tuple["Task", Floats]) -> tuple["Task", Floats, list[Floats]]:
        """Return a task that knows all the classes there are, with labels and predictions in its terms."""
        return self, self.encode(labels).astype(np.float64), [found for _, found in predictions]

    def difference(self, found: Floats, recorded: Floats) -> Floats:
        """Return how far answers are apart: as they are for probabilities, relative to size and spread for values."""
        return np.abs(found.astype(np.float64) - recorded) / np.maximum(self.scale, np.abs(recorded))

    def decided(self, predictions: Floats) -> Floats:
        """Return the predictions as `summary` takes them."""
        return predictions

    def prices(self, costs: Costs | ClassCosts | None) -> Floats | None:  # noqa: ARG002  values are not right or wrong
        """Return [classes, classes], what each answer costs where the line's class is true."""
        return None

    def problem(self, labels: Floats, predictions: Floats) -> str:
        """Return why these rows say nothing about a model; "" if they do."""
        strange = int((~np.isfinite(predictions)).sum())
        if strange:
            return f"{strange} of {predictions.size} predictions are not finite numbers"
        distinct = len(np.unique(labels))
        return f"the {len(labels)} labels hold {distinct} of {self.needed_labels}" if distinct < 2 else ""

    def as_dict(self) -> dict[str, Any]:
        """Return the task as a manifest holds it."""
        return {"name": self.name, **asdict(self)}
