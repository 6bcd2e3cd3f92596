"""This file turns a Keras model into an ONNX graph."""

import logging
from collections.abc import Callable
from typing import Any

import onnx
import tensorflow as tf
import tf2onnx

from include.features import OPSET, OUTPUT


def graph_of(answer: Callable[[Any], Any], width: int) -> onnx.ModelProto:
    """Return a function of a matrix [rows, width] that gives answers as an ONNX graph."""
    logging.getLogger("tf2onnx").setLevel(logging.ERROR)
    signature = [tf.TensorSpec((None, width), tf.float32, name="matrix")]
    function = tf.function(lambda matrix: {OUTPUT: tf.identity(answer(matrix), name=OUTPUT)}, signature)
    model, _ = tf2onnx.convert.from_function(function, input_signature=signature, opset=OPSET)
    # tf2onnx declares ai.onnx.ml in a version of its own, though it is not used: nothing else could be merged with it.
    used = {node.domain for node in model.graph.node}
    for opset in [each for each in model.opset_import if each.domain not in used]:
        model.opset_import.remove(opset)
    return model
