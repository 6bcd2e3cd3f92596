"""This file fits a model to rows that are in memory: for replays and trials, which keep no model folder."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from include.learning.task import Task
from include.recipe import Training
from include.training import export
from include.training.frameworks import framework
from include.training.preprocessing import Preprocessor, fit_preprocessor
from include.training.stream import InMemory, Stream, fitting_batch

LOOKED_AT = 1000  # rows whose loss is told after each epoch

Columns = Mapping[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class Learned:
    """A fitted model."""

    preprocessor: Preprocessor
    trainer: Any

    def predict(self, columns: Columns) -> npt.NDArray[np.float32]:
        """Return answers, shape [rows] or [rows, classes]."""
        found: npt.NDArray[np.float32] = self.trainer.predict(self.matrix(columns))
        return found

    def matrix(self, columns: Columns) -> npt.NDArray[np.float32]:
        """Return what the network sees."""
        return self.preprocessor.transform(columns)

    def graph(self) -> bytes:
        """Return the model as one ONNX graph."""
        return export.export(self.preprocessor, self.trainer.graph(self.preprocessor.layout.width))


def learn(training: Training, task: Task, columns: Columns, labels: npt.NDArray[Any]) -> Learned:
    """Return a model fitted to columns and encoded labels, the very one that a training on these rows would give."""
    trains = framework(training.framework)
    trains.make_deterministic(training.seed)
    labels = labels.astype(np.int64 if task.name == "multiclass" else np.float32)
    preprocessor = fit_preprocessor(columns, training.features)
    found = Learned(preprocessor, trains.build(training, preprocessor.layout, task, labels))
    matrix = found.matrix(columns)
    stream = Stream(InMemory(matrix, labels), training.batch_size or fitting_batch(len(labels)), training.seed)
    found.trainer.fit(stream, (matrix[:LOOKED_AT], labels[:LOOKED_AT]))
    return found
