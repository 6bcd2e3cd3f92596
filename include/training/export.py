"""This file joins preprocessing and network into one ONNX graph that takes raw columns, and proves it is the same."""

import logging
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, compose, helper, version_converter
from skl2onnx import convert_sklearn
from skl2onnx.common.data_types import FloatTensorType, StringTensorType

from include import artefact
from include.errors import ArtefactError
from include.features import OPSET
from include.learning.task import Task
from include.recipe import Features
from include.training.preprocessing import Preprocessor

log = logging.getLogger(__name__)

LARGEST_DIFFERENCE = 1e-6
# Convolutions are long sums, which each runtime adds up in an order of its own: 1.01e-6 was seen (decision 0018).
_WITH_PICTURES = 1e-5
_ML_OPSET = 3


def export(preprocessor: Preprocessor, back: onnx.ModelProto) -> bytes:
    """Return one ONNX graph: an input per raw column; the output `prediction` is [rows] or [rows, classes].

    :param back: takes the preprocessed matrix, gives answers.
    """
    front = _preprocessing_graph(preprocessor)
    front.ir_version = back.ir_version = min(front.ir_version, back.ir_version)
    merged = compose.merge_models(front, back, io_map=[(front.graph.output[0].name, back.graph.input[0].name)])
    # The two converters list operator sets in no fixed order, and twice; sorted, the same model is the same file.
    versions = {opset.domain: opset.version for opset in merged.opset_import}
    del merged.opset_import[:]
    merged.opset_import.extend(helper.make_opsetid(domain, versions[domain]) for domain in sorted(versions))
    onnx.checker.check_model(merged, full_check=True)
    content: bytes = merged.SerializeToString(deterministic=True)
    return content


def check_same(
    content: bytes,
    columns: Mapping[str, npt.NDArray[Any]],
    expected: npt.NDArray[np.float32],
    features: Features,
    task: Task,
) -> tuple[npt.NDArray[np.float32], float]:
    """Return what the exported graph predicts from raw columns, and its largest difference from the framework's.

    :raises ArtefactError: if they differ by more than 1e-6 anywhere (of a value's size; 1e-5 where there are pictures),
        or are not numbers.
    """
    predictions = artefact.predict(artefact.session_of(content), columns, features)
    is_same_shape = predictions.shape == expected.shape
    difference = float(task.difference(predictions, expected).max()) if is_same_shape else np.inf
    allowed = _WITH_PICTURES if features.image else LARGEST_DIFFERENCE
    if not difference <= allowed:
        raise ArtefactError(
            f"The exported graph differs from the framework's answers by up to {difference:.2e} on {len(expected)} "
            f"rows, at most {allowed:.0e} is allowed: it is not kept. Look for feature values beyond "
            "float32's precision."
        )
    log.info(
        "The exported graph differs from the framework's answers by at most %.1e on %s rows", difference, len(expected)
    )
    return predictions, difference


def _preprocessing_graph(preprocessor: Preprocessor) -> onnx.ModelProto:
    table = _table_graph(preprocessor)
    if table is not None and preprocessor.layout.is_table:
        return table
    nodes: list[onnx.NodeProto] = []
    constants: list[onnx.TensorProto] = []
    between: list[onnx.ValueInfoProto] = []
    inputs: list[onnx.ValueInfoProto] = []
    parts: list[str] = []
    if table is not None:
        table = compose.add_prefix(table, "table/", rename_inputs=False)
        nodes, constants = list(table.graph.node), list(table.graph.initializer)
        inputs, parts = list(table.graph.input), [table.graph.output[0].name]
    for name, words in preprocessor.words.items():
        made, known, told, codes = words.graph_parts(name)
        nodes, constants, between, parts = nodes + made, constants + known, between + told, [*parts, codes]
        inputs.append(helper.make_tensor_value_info(name, TensorProto.STRING, [None, 1]))
    for name, shades in preprocessor.shades.items():
        made, known, scaled = shades.graph_parts(name)
        nodes, constants, parts = nodes + made, constants + known, [*parts, scaled]
        size = preprocessor.features.image[name].size
        inputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, size]))
    nodes.append(helper.make_node("Concat", parts, ["seen"], axis=1))
    output = helper.make_tensor_value_info("seen", TensorProto.FLOAT, [None, preprocessor.layout.width])
    graph = helper.make_graph(nodes, "preprocessing", inputs, [output], constants, value_info=between)
    versions = {"": OPSET, "ai.onnx.ml": _ML_OPSET, "com.microsoft": 1}
    opsets = [helper.make_opsetid(domain, version) for domain, version in versions.items()]
    return helper.make_model(graph, opset_imports=opsets, ir_version=helper.find_min_ir_version_for(opsets, True))


def _table_graph(preprocessor: Preprocessor) -> onnx.ModelProto | None:
    features = preprocessor.features
    if preprocessor.table is None:
        return None
    inputs = [(name, FloatTensorType([None, 1])) for name in features.numeric]
    inputs += [(name, StringTensorType([None, 1])) for name in features.categorical]
    opsets = {"": OPSET, "ai.onnx.ml": _ML_OPSET}
    graph = convert_sklearn(preprocessor.table, "preprocessing", inputs, target_opset=opsets)
    # skl2onnx declares the lowest operator set that will do; merging wants the network's.
    return version_converter.convert_version(graph, OPSET)
