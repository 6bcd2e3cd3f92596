"""This file puts a correction of answers into a model's graph as its last nodes, and takes it out again."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from include.errors import ArtefactError
from include.features import OUTPUT
from include.learning.calibration import TINY, Affine, Calibration, Logistic, Temperature

_MINE = "correction/"  # names of the nodes and constants that are ours begin so
_ANSWER = f"{_MINE}uncorrected"

Node = tuple[str, list[str], dict[str, Any]]  # operator, inputs after the first one, attributes


def corrected(content: bytes, correction: Calibration) -> bytes:
    """Return the graph with this correction as its last nodes; one that is there already is replaced.

    :raises ArtefactError: if the graph does not give answers under the name that all models use.
    """
    model = onnx.load_from_string(uncorrected(content))
    graph = model.graph
    _rename_output(graph, OUTPUT, _ANSWER)
    constants: dict[str, Any] = {}
    # In double precision: float32 has few digits left for the odds of what is nearly certain.
    nodes = [
        ("Cast", ["_"], {"to": TensorProto.DOUBLE}),
        *_NODES[type(correction)](correction, constants),
        ("Cast", ["_"], {"to": TensorProto.FLOAT}),
    ]
    source = _ANSWER
    for number, (operator, names, attributes) in enumerate(nodes):
        target = OUTPUT if number == len(nodes) - 1 else f"{_MINE}{number}"
        inputs = [source if name == "_" else f"{_MINE}{name}" for name in names]
        graph.node.append(helper.make_node(operator, inputs, [target], name=f"{_MINE}node{number}", **attributes))
        source = target
    for name, value in constants.items():
        graph.initializer.append(numpy_helper.from_array(np.asarray(value, dtype=np.float64), f"{_MINE}{name}"))
    onnx.checker.check_model(model, full_check=True)
    found: bytes = model.SerializeToString(deterministic=True)
    return found


def uncorrected(content: bytes) -> bytes:
    """Return the graph as training made it."""
    model = onnx.load_from_string(content)
    graph = model.graph
    ours = [node for node in graph.node if node.name.startswith(_MINE)]
    if not ours:
        return content
    for node in ours:
        graph.node.remove(node)
    for constant in [value for value in graph.initializer if value.name.startswith(_MINE)]:
        graph.initializer.remove(constant)
    _rename_output(graph, _ANSWER, OUTPUT)
    found: bytes = model.SerializeToString(deterministic=True)
    return found


def _rename_output(graph: onnx.GraphProto, old: str, new: str) -> None:
    named = [node for node in graph.node if old in node.output]
    if not named:
        raise ArtefactError(f"The graph has no output '{old}': it is no model of ours. Train again.")
    for node in named:
        node.output[list(node.output).index(old)] = new


def _logistic(correction: Logistic, constants: dict[str, Any]) -> list[Node]:
    constants |= {"low": TINY, "high": 1 - TINY, "one": 1, "slope": correction.slope, "intercept": correction.intercept}
    # log(p / (1 - p)) with one input: log(1 / (1/p - 1)) = -log(1/p - 1).
    return [
        ("Clip", ["_", "low", "high"], {}),
        ("Reciprocal", ["_"], {}),
        ("Sub", ["_", "one"], {}),
        ("Log", ["_"], {}),
        ("Neg", ["_"], {}),
        ("Mul", ["_", "slope"], {}),
        ("Add", ["_", "intercept"], {}),
        ("Sigmoid", ["_"], {}),
    ]


def _temperature(correction: Temperature, constants: dict[str, Any]) -> list[Node]:
    constants |= {"low": TINY, "high": 1, "sharpness": correction.sharpness, "biases": correction.biases or 0.0}
    return [
        ("Clip", ["_", "low", "high"], {}),
        ("Log", ["_"], {}),
        ("Mul", ["_", "sharpness"], {}),
        ("Add", ["_", "biases"], {}),
        ("Softmax", ["_"], {"axis": -1}),
    ]


def _affine(correction: Affine, constants: dict[str, Any]) -> list[Node]:
    constants |= {"slope": correction.slope, "intercept": correction.intercept}
    return [("Mul", ["_", "slope"], {}), ("Add", ["_", "intercept"], {})]


_NODES: Mapping[type[Calibration], Callable[[Any, dict[str, Any]], list[Node]]] = {
    Logistic: _logistic,
    Temperature: _temperature,
    Affine: _affine,
}
