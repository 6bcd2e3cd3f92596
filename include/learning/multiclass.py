"""This file is the task of saying which of several classes a row belongs to."""

from collections.abc import Iterable
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

PROBABILITIES = "probabilities"
_CHANCES = pa.map_(pa.string(), pa.float64())


@dataclass(frozen=True)
class Multiclass(Task):
    """Several classes, known by name; the answer is the likeliest one, with the probability of each."""

    name = "multiclass"
    needed_labels = "at least two classes"
    fields = (pa.field(PREDICTION, pa.string()), pa.field(PROBABILITIES, _CHANCES))

    classes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "classes", tuple(self.classes))  # a manifest, being JSON, holds a list

    @classmethod
    def labels(cls, column: pa.ChunkedArray) -> pa.ChunkedArray:
        """Return names of classes; whole numbers are names, too."""
        kind = column.type
        if pa.types.is_floating(kind):
            column = pc.if_else(pc.is_finite(column), column, None)
            fractions = column.filter(pc.not_equal(pc.floor(column), column))
            if len(fractions):
                raise ConfigError(
                    f"which holds {fractions[0].as_py():g}: that is no class. Say `training.task: regression`, or "
                    "derive a column of names under `cleaning.derive`."
                )
            column = pc.cast(column, pa.int64())
        return pc.cast(column, pa.string())

    @classmethod
    def learn(cls, labels: Labels) -> Self:
        """Return the task with the classes that occur."""
        return cls(_in_order(pc.unique(labels).to_pylist()))

    @classmethod
    def from_answers(cls, table: pa.Table) -> Self:
        """Return the task with the classes that the answers name."""
        return cls(tuple(_chances_of(table)[0]))

    def encode(self, labels: Labels) -> npt.NDArray[Any]:
        """Return the class's number; -1 for one that is not known."""
        numbers = {name: number for number, name in enumerate(self.classes)}
        return np.array([numbers.get(name, -1) for name in labels.to_pylist()], dtype=np.int64)

    def constant(self, labels: Floats) -> Floats:
        """Return the classes' shares."""
        counts = np.bincount(labels[labels >= 0].astype(np.intp), minlength=len(self.classes))
        return np.tile(counts / max(len(labels), 1), (len(labels), 1))

    def summary(self, labels: Floats) -> dict[str, float]:
        """Return the share of each class."""
        return {name: float(np.mean(labels == number)) for number, name in enumerate(self.classes)}

    def answers(self, predictions: Floats) -> list[dict[str, Any]]:
        """Return the likeliest class and the probability of each."""
        likeliest = predictions.argmax(axis=1)
        return [
            {
                PREDICTION: self.classes[number],
                PROBABILITIES: {name: float(chance) for name, chance in zip(self.classes, chances, strict=True)},
            }
            for number, chances in zip(likeliest, predictions, strict=True)
        ]

    def columns(self, predictions: Floats) -> dict[str, pa.Array]:
        """Return the likeliest class, and the probabilities by name: rows of other versions may know other classes."""
        rows, classes = predictions.shape
        names = np.array(self.classes, dtype=object)
        chances = pa.MapArray.from_arrays(
            pa.array(np.arange(rows + 1) * classes, pa.int32()),
            pa.array(np.tile(names, rows), pa.string()),
            pa.array(predictions.astype(np.float64).ravel()),
        )
        return {PREDICTION: pa.array(names[predictions.argmax(axis=1)], pa.string()), PROBABILITIES: chances}

    def recorded(self, table: pa.Table | pa.RecordBatch) -> Floats:
        """Return [rows, classes], in the order of this task's classes; 0 for a class that the rows do not know."""
        theirs, found = _chances_of(table)
        return _spread(found, theirs, self.classes)

    def compare(self, labels: Labels, *predictions: tuple[Task, Floats]) -> tuple[Task, Floats, list[Floats]]:
        """Return all in terms of the classes that any model knows or that occur: an unknown class has probability 0."""
        known = [task.classes for task, _ in predictions if isinstance(task, Multiclass)]
        everyone = Multiclass(_in_order({*self.classes, *pc.unique(labels).to_pylist()}.union(*known)))
        spread = [
            _spread(found, task.classes, everyone.classes)
            for task, found in predictions
            if isinstance(task, Multiclass)
        ]
        return everyone, everyone.encode(labels).astype(np.float64), spread

    def decided(self, predictions: Floats) -> Floats:
        """Return the likeliest class's number."""
        return predictions.argmax(axis=1).astype(np.float64)

    def prices(self, costs: Costs | ClassCosts | None) -> Floats | None:
        """Return the prices of wrong answers: 1 where none is said; right answers cost nothing.

        :raises ConfigError: if a class is named that nobody knows.
        """
        if costs is None or isinstance(costs, Costs):
            return None
        unknown = {*costs, *(said for row in costs.values() for said in row)} - set(self.classes)
        if unknown:
            raise ConfigError(f"'gate.costs' names {sorted(unknown)}, not classes of the target: {list(self.classes)}.")
        return np.array(
            [
                [costs.get(true, {}).get(said, 1.0) if said != true else 0.0 for said in self.classes]
                for true in self.classes
            ]
        )


def _in_order(names: Iterable[str]) -> tuple[str, ...]:
    # 2 before 10, as people count.
    return tuple(sorted(names, key=lambda name: (0, int(name), name) if name.isdecimal() else (1, 0, name)))


def _chances_of(table: pa.Table | pa.RecordBatch) -> tuple[list[str], Floats]:
    # The rows of one version name the same classes in the same order.
    chances = table.column(PROBABILITIES)
    chances = chances.combine_chunks() if isinstance(chances, pa.ChunkedArray) else chances
    names = chances.keys[: len(chances.keys) // max(len(chances), 1)].to_pylist()
    return names, np.asarray(chances.items, dtype=np.float64).reshape(len(chances), len(names))


def _spread(found: Floats, theirs: Iterable[str], ours: tuple[str, ...]) -> Floats:
    spread = np.zeros((len(found), len(ours)), dtype=np.float64)
    for position, name in enumerate(theirs):
        if name in ours:
            spread[:, ours.index(name)] = found[:, position]
    return spread
