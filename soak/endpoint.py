"""This file serves a real model, trained on made-up rows of a real pipeline, from a real uvicorn process."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq

from include import artefact
from include.config import load_pipeline
from include.learning.binary import Binary
from include.ledger import open_ledger, releases
from include.pipeline import Pipeline
from include.recipe import Features, Training
from include.serving.state import State, declare
from include.settings import ROOT, load_settings

START_SECONDS = 60
ROWS = 300


@dataclass(frozen=True)
class Endpoint:
    """A running endpoint."""

    url: str
    port: int
    process: psutil.Process
    pipeline: Pipeline

    @property
    def rss_mb(self) -> float:
        """Return the memory that the process holds."""
        return round(self.process.memory_info().rss / 2**20, 1)


@contextmanager
def serving(
    folder: Path,
    pipeline_name: str = "flight_delays",
    workers: int = 1,
    pipelines: Path = ROOT / "config" / "pipelines",
) -> Iterator[Endpoint]:
    """Serve a fresh model of a pipeline, with its data in a folder, for the length of a `with` block."""
    environment = os.environ | {
        "EVERGREEN_DATA": str(folder),
        "EVERGREEN_PIPELINES": str(pipelines),
        "PYTHONPATH": str(ROOT),
    }
    pipeline = load_pipeline(pipeline_name, pipelines)
    _declare(folder, pipeline)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "include.serving", "--port", str(port), "--workers", str(workers)]
    with (folder / "endpoint.log").open("w") as log:
        started = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log)
    try:
        url = f"http://127.0.0.1:{port}"
        _wait_for(url, started)
        yield Endpoint(url, port, psutil.Process(started.pid), pipeline)
    finally:
        started.terminate()
        started.wait(30)


def approve(pipeline: Pipeline, compared_with: int | None) -> str:
    """Enter a release of the endpoint's model that the gate has approved, and return its id."""
    (folder,) = (load_settings().models / pipeline.name).iterdir()
    with open_ledger() as session:
        number = releases.next_version(session, pipeline.name)
        release = releases.add_release(
            session,
            pipeline.name,
            f"request-{number}",
            model_uri=str(folder),
            sha256=artefact.read_manifest(folder)["sha256"],
            tracking_run="",
            judged_until="2013-01-01",
            quality=0.7,
            metrics={},
            gate={},
            compared_with=compared_with,
        )
        releases.judge(session, release.id, approved=True, note="for a trial")
        return release.id


def _declare(folder: Path, pipeline: Pipeline) -> None:
    features, random = pipeline.training.features, np.random.default_rng(0)
    content = _train(pipeline.training.model_copy(update={"epochs": 1}), made_up(features, random))
    model = folder / "models" / pipeline.name / "fuzz"
    model.mkdir(parents=True)
    (model / artefact.MODEL).write_bytes(content)
    sha256 = artefact.sha256_of(content)
    (model / artefact.MANIFEST).write_text(
        json.dumps({"features": features.model_dump(), "sha256": sha256, "task": Binary().as_dict()})
    )
    asked = made_up(features, random)
    answers = artefact.predict(artefact.load_session(model, sha256), asked, features)
    rows = pa.table({name: pa.array(values) for name, values in asked.items()})
    pq.write_table(artefact.with_answers(rows, Binary(), answers), model / artefact.HOLDOUT)
    settings = load_settings().model_copy(update={"data": folder})
    declare(settings, State(pipeline.name, 1, 1, str(model), sha256))


def _train(training: Training, columns: dict[str, np.ndarray]) -> bytes:
    from include.training.in_memory import learn

    return learn(training, Binary(), columns, columns[training.features.numeric[0]] > 50).graph()


def made_up(features: Features, random: np.random.Generator) -> dict[str, np.ndarray]:
    """Return columns of made-up rows."""
    columns: dict[str, np.ndarray] = {name: random.normal(50, 20, ROWS).astype(np.float32) for name in features.numeric}
    return columns | {name: random.choice(["A", "B", "C", ""], ROWS).astype(object) for name in features.categorical}


def _wait_for(url: str, started: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + START_SECONDS
    while True:
        try:
            if httpx.get(f"{url}/ping", trust_env=False).json()["pipelines"]:
                return
        except httpx.TransportError:
            pass
        if started.poll() is not None or time.monotonic() > until:
            raise RuntimeError(f"The endpoint at {url} does not serve the model: see endpoint.log in its folder.")
        time.sleep(0.05)
