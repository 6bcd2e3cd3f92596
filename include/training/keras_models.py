"""This file holds the networks that come with Evergreen, in Keras: functions that `training.model` can name."""

import keras
import numpy as np
import numpy.typing as npt
from keras import layers, ops

from include.recipe import Training
from include.training.keras_encoders import Categories, pictures, table, texts
from include.training.layout import Layout

Start = npt.NDArray[np.float32]


def tabular_mlp(layout: Layout, training: Training, start: Start) -> keras.Model:
    """Return embeddings for categories beside scaled numbers, then a plain multi-layer perceptron.

    :param start: the first outputs for any row, shape [outputs], so that no epoch is spent on learning those.
    """
    layout.expect_table("tabular_mlp")
    return mixed_mlp(layout, training, start)


def mixed_mlp(layout: Layout, training: Training, start: Start) -> keras.Model:
    """Return the same with texts as the mean of their words' embeddings, and pictures by a small convolutional net."""
    matrix = keras.Input((layout.width,), name="matrix")
    parts = layout.cut(matrix)
    encoded = [
        *table(layout, parts, training.embedding_dim),
        *texts(layout, parts, training.hidden[0]),
        *pictures(layout, parts),
    ]
    hidden = layers.Concatenate()(encoded) if len(encoded) > 1 else encoded[0]
    for width in training.hidden:
        hidden = layers.Dense(width, activation="relu")(hidden)
        hidden = layers.Dropout(training.dropout)(hidden)
    return keras.Model(matrix, _head(start)(hidden))


def wide(layout: Layout, training: Training, start: Start) -> keras.Model:  # noqa: ARG001 - as every model
    """Return a linear model: a weight per number, a bias per category. What a deeper one has to beat."""
    layout.expect_table("wide")
    matrix = keras.Input((layout.width,), name="matrix")
    parts = layout.cut(matrix)
    outputs = [_head(start)(parts.numbers)] if layout.numeric else []
    if layout.categories:
        biases = Categories(layout, len(start), spread=0.0)(parts.codes)
        outputs.append(ops.sum(biases, axis=1))
    return keras.Model(matrix, layers.Add()(outputs) if len(outputs) > 1 else outputs[0])


def _head(start: Start) -> layers.Layer:
    return layers.Dense(
        len(start), kernel_initializer="zeros", bias_initializer=lambda *_, **__: ops.convert_to_tensor(start),
        dtype="float32", name="outputs",
    )  # fmt: skip
