"""This file turns columns into the model's inputs: the one step before the ONNX graph, the same everywhere."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from include.recipe import Features

OUTPUT = "prediction"
OPSET = 18  # of ONNX, that all parts of a graph are written in


def model_inputs(
    columns: Mapping[str, Sequence[Any] | npt.NDArray[Any]], features: Features
) -> dict[str, npt.NDArray[Any]]:
    """Return one (rows, 1) array per feature: float32 with NaN for missing numbers, strings with "" for missing ones.

    :raises ValueError: if a numeric column holds something that is not a number.
    """
    inputs: dict[str, npt.NDArray[Any]] = {}
    for name in features.numeric:
        inputs[name] = np.asarray(columns[name], dtype=np.float32).reshape(-1, 1)
    for name in features.categorical:
        values = [value if isinstance(value, str) else "" for value in columns[name]]
        inputs[name] = np.asarray(values, dtype=object).reshape(-1, 1)
    return inputs
