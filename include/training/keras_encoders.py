"""This file turns each kind of column into a vector, in Keras: parts that networks are put together from."""

from typing import Any

import keras
import numpy as np
from keras import layers, ops

from include.training.layout import Layout, Parts, halvings
from include.training.words import FIRST, NOTHING

EMBEDDING_SPREAD = 0.1  # as in PyTorch (include/training/encoders.py)


def table(layout: Layout, parts: Parts, dim: int) -> list[Any]:
    """Return numbers as they are, and what stands for the categories; nothing, where there are neither."""
    found = [parts.numbers] if layout.numeric else []
    if layout.categories:
        found.append(layers.Flatten()(Categories(layout, dim, EMBEDDING_SPREAD)(parts.codes)))
    return found


def texts(layout: Layout, parts: Parts, dim: int) -> list[Any]:
    """Return the mean of the words' embeddings of each text column (Joulin et al. 2017, "Bag of tricks")."""
    found = []
    for (known, _), codes in zip(layout.texts, parts.texts, strict=True):
        start = keras.initializers.RandomNormal(stddev=EMBEDDING_SPREAD)
        words = layers.Embedding(known + FIRST, dim, embeddings_initializer=start)(codes)
        is_word = ops.expand_dims(ops.cast(ops.not_equal(codes, NOTHING), words.dtype), 2)
        found.append(ops.sum(words * is_word, axis=1) / ops.maximum(ops.sum(is_word, axis=1), 1))
    return found


def pictures(layout: Layout, parts: Parts) -> list[Any]:
    """Return what convolutions make of each picture column: at each step half as large, and more is seen in it."""
    found = []
    for shape, flat in zip(layout.images, parts.images, strict=True):
        seen = layers.Reshape(shape)(flat)
        for step in halvings(shape[0], shape[1]):
            seen = layers.Conv2D(step.filters, 3, strides=2, padding="same", activation="relu")(seen)
        found.append(layers.Flatten()(seen))
    return found


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
