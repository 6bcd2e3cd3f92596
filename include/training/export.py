"""This file joins preprocessing and network into one ONNX graph that takes raw columns, and proves it is the same."""

import logging
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import compose, version_converter
from skl2onnx import convert_sklearn
from skl2onnx.common.data_types import FloatTensorType, StringTensorType
from sklearn.compose import ColumnTransformer

from include import artefact
from include.errors import ArtefactError
from include.features import OPSET
from include.learning.task import Task
from include.recipe import Features

log = logging.getLogger(__name__)

LARGEST_DIFFERENCE = 1e-6


def export(preprocessor: ColumnTransformer, back: onnx.ModelProto, features: Features) -> bytes:
    """Return one ONNX graph: an input [rows, 1] per raw column; the output `prediction` is [rows] or [rows, classes].

    :param back: takes the preprocessed matrix, gives answers.
    """
    front = _preprocessing_graph(preprocessor, features)
    front.ir_version = back.ir_version = min(front.ir_version, back.ir_version)
    merged = compose.merge_models(front, back, io_map=[(front.graph.output[0].name, back.graph.input[0].name)])
    # The two converters list operator sets in no fixed order, and twice; sorted, the same model is the same file.
    versions = {opset.domain: opset.version for opset in merged.opset_import}
    del merged.opset_import[:]
    merged.opset_import.extend(onnx.helper.make_opsetid(domain, versions[domain]) for domain in sorted(versions))
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

    :raises ArtefactError: if they differ by more than 1e-6 anywhere (of a value's size), or are not numbers.
    """
    predictions = artefact.predict(artefact.session_of(content), columns, features)
    is_same_shape = predictions.shape == expected.shape
    difference = float(task.difference(predictions, expected).max()) if is_same_shape else np.inf
    if not difference <= LARGEST_DIFFERENCE:
        raise ArtefactError(
            f"The exported graph differs from the framework's answers by up to {difference:.2e} on {len(expected)} "
            f"rows, at most {LARGEST_DIFFERENCE:.0e} is allowed: it is not kept. Look for feature values beyond "
            "float32's precision."
        )
    log.info(
        "The exported graph differs from the framework's answers by at most %.1e on %s rows", difference, len(expected)
    )
    return predictions, difference


def _preprocessing_graph(preprocessor: ColumnTransformer, features: Features) -> onnx.ModelProto:
    inputs = [(name, FloatTensorType([None, 1])) for name in features.numeric]
    inputs += [(name, StringTensorType([None, 1])) for name in features.categorical]
    graph = convert_sklearn(preprocessor, "preprocessing", inputs, target_opset={"": OPSET, "ai.onnx.ml": 3})
    # skl2onnx declares the lowest operator set that will do; merging wants the network's.
    return version_converter.convert_version(graph, OPSET)
