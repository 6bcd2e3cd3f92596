"""This file serves the same model with LitServe, in an environment of its own: `python lit.py PORT`."""

import json
import os
import sys
from pathlib import Path
from typing import Any

import litserve
import numpy as np
import onnxruntime

FOLDER = Path(os.environ["BENCH_MODEL"])
FEATURES = json.loads((FOLDER / "manifest.json").read_text())["features"]


class Model(litserve.LitAPI):
    """The model as LitServe wants it."""

    def setup(self, device: str) -> None:  # noqa: ARG002
        """Load the model."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(
            str(FOLDER / "model.onnx"), options, providers=["CPUExecutionProvider"]
        )

    def predict(self, request: dict[str, Any]) -> dict[str, Any]:
        """Predict for each of `instances`."""
        rows = request["instances"]
        inputs = {name: np.array([[row[name]] for row in rows], dtype=np.float32) for name in FEATURES["numeric"]}
        for name in FEATURES["categorical"]:
            inputs[name] = np.array([[row[name] or ""] for row in rows], dtype=object)
        return {"predictions": self.session.run(["prediction"], inputs)[0].tolist()}


if __name__ == "__main__":
    server = litserve.LitServer(Model(api_path="/invocations"), accelerator="cpu", workers_per_device=1)
    server.run(
        port=int(sys.argv[1]), host="127.0.0.1", num_api_servers=1, log_level="warning", generate_client_file=False
    )
