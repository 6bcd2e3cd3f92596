"""This file is what the endpoint is compared with: FastAPI and ONNX Runtime, and nothing else.

It is meant to be as fast as someone who knows FastAPI makes it in one file: the body is decoded by msgspec without a
Pydantic model, the model is asked on the event loop (a thread would cost more than the 50 µs it takes), the answer is
bytes. It has the endpoint's session options, server, JSON library and response class; it checks, counts and keeps
nothing. `BENCH_MODEL` names the artefact's folder.
"""

import json
import os
from pathlib import Path

import msgspec
import numpy as np
import onnxruntime
from fastapi import FastAPI, Request, Response

FOLDER = Path(os.environ["BENCH_MODEL"])
FEATURES = json.loads((FOLDER / "manifest.json").read_text())["features"]

options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
options.inter_op_num_threads = 1
session = onnxruntime.InferenceSession(FOLDER / "model.onnx", options, providers=["CPUExecutionProvider"])
app = FastAPI()


@app.get("/ping")
async def ping() -> Response:
    """Say that the model is loaded."""
    return Response()


@app.post("/invocations")
async def invoke(request: Request) -> Response:
    """Predict for each of `instances`."""
    rows = msgspec.json.decode(await request.body())["instances"]
    inputs = {name: np.array([[row[name]] for row in rows], dtype=np.float32) for name in FEATURES["numeric"]}
    for name in FEATURES["categorical"]:
        inputs[name] = np.array([[row[name] or ""] for row in rows], dtype=object)
    predictions = session.run(["prediction"], inputs)[0]
    return Response(msgspec.json.encode({"predictions": predictions.tolist()}), media_type="application/json")
