"""This file serves the same model with BentoML, in an environment of its own: `bentoml serve bento:Model`."""

import json
import os
from pathlib import Path
from typing import Any

import bentoml
import numpy as np
import onnxruntime

FOLDER = Path(os.environ["BENCH_MODEL"])
FEATURES = json.loads((FOLDER / "manifest.json").read_text())["features"]


@bentoml.service(workers=1)
class Model:
    """The model as BentoML wants it."""

    def __init__(self) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(
            str(FOLDER / "model.onnx"), options, providers=["CPUExecutionProvider"]
        )

    @bentoml.api(route="/invocations")
    async def invoke(self, instances: list[dict[str, Any]]) -> dict[str, Any]:
        """Predict for each of `instances`."""
        inputs = {name: np.array([[row[name]] for row in instances], dtype=np.float32) for name in FEATURES["numeric"]}
        for name in FEATURES["categorical"]:
            inputs[name] = np.array([[row[name] or ""] for row in instances], dtype=object)
        return {"predictions": self.session.run(["prediction"], inputs)[0].tolist()}
