"""This file holds the networks that come with Evergreen, in Keras: functions that `training.model` can name."""

import keras
import numpy as np
import numpy.typing as npt
from keras import layers, ops

from include.recipe import Training
from include.training.layout import Layout

Start = npt.NDArray[np.float32]

_EMBEDDING_SPREAD = 0.1  # as in PyTorch (include/training/models.py)


def tabular_mlp(layout: Layout, training: Training, start: Start) -> keras.Model:
    """Return embeddings for categories beside scaled numbers, then a plain multi-layer perceptron.

    :param start: the first outputs for any row, shape [outputs], so that no epoch is spent on learning those.
    """
    matrix = keras.Input((layout.width,), name="matrix")
    parts = [matrix[:, : layout.numeric]] if layout.numeric else []
    if layout.categories:
        embedded = Categories(layout, training.embedding_dim, _EMBEDDING_SPREAD)(matrix[:, layout.numeric :])
        parts.append(layers.Flatten()(embedded))
    hidden = layers.Concatenate()(parts) if len(parts) > 1 else parts[0]
    for width in training.hidden:
        hidden = layers.Dense(width, activation="relu")(hidden)
        hidden = layers.Dropout(training.dropout)(hidden)
    return keras.Model(matrix, _head(start)(hidden))


def wide(layout: Layout, training: Training, start: Start) -> keras.Model:  # noqa: ARG001 - as every model
    """Return a linear model: a weight per number, a bias per category. What a deeper one has to beat."""
    matrix = keras.Input((layout.width,), name="matrix")
    parts = [_head(start)(matrix[:, : layout.numeric])] if layout.numeric else []
    if layout.categories:
        biases = Categories(layout, len(start), spread=0.0)(matrix[:, layout.numeric :])
        parts.append(ops.sum(biases, axis=1))
    return keras.Model(matrix, layers.Add()(parts) if len(parts) > 1 else parts[0])


class Categories(layers.Layer):
    """Look codes up in one table for all columns, [rows, columns] to [rows, columns, dim].

    Each column owns a stretch of it, which begins with its "unknown": that one starts, and may stay, at nought.
    """

    def __init__(self, layout: Layout, dim: int, spread: float) -> None:
        """Note the columns."""
        super().__init__()
        ends = np.cumsum([size + 1 for size in layout.categories])
        self._firsts = np.concatenate([[0], ends[:-1]]).astype(np.int32)
        self._shape, self._spread = (int(ends[-1]), dim), spread

    def build(self, _shape: object) -> None:
        """Make the table."""
        self.table = self.add_weight(shape=self._shape, initializer=self._start, name="table")

    def call(self, codes: object) -> object:
        """Return what stands for each code."""
        return ops.take(self.table, ops.cast(codes, "int32") + (self._firsts + 1), axis=0)

    def _start(self, shape: tuple[int, int], dtype: str | None = None) -> object:
        values = keras.random.normal(shape, stddev=self._spread or 0.0, dtype=dtype)
        is_known = np.ones((shape[0], 1), dtype=np.float32)
        is_known[self._firsts] = 0
        return values * is_known


def _head(start: Start) -> layers.Layer:
    return layers.Dense(
        len(start), kernel_initializer="zeros", bias_initializer=lambda *_, **__: ops.convert_to_tensor(start),
        dtype="float32", name="outputs",
    )  # fmt: skip
