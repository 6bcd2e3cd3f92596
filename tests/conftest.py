"""A tiny installation in a temporary folder, and an empty Airflow: its settings come before anything imports it."""

import atexit
import json
import logging
import os
import resource
import shutil
import signal
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis
from onnx import TensorProto, helper

from include import artefact
from include.config import load_pipeline
from include.learning.binary import Binary
from include.learning.task import Task
from include.ledger import open_ledger, releases
from include.pipeline import Pipeline
from include.recipe import Features
from include.settings import Settings, load_settings

ROOT = Path(__file__).resolve().parents[1]
# On a busy machine a slow example is no finding.
hypothesis.register_profile("evergreen", deadline=None, suppress_health_check=[HealthCheck.too_slow])
hypothesis.load_profile("evergreen")
# A SIGTERM, such as that of a time limit, ends the tests as Ctrl-C does: what they have made goes with them.
signal.signal(signal.SIGTERM, signal.default_int_handler)
HOME = Path(tempfile.mkdtemp(prefix="evergreen-airflow-"))
atexit.register(shutil.rmtree, HOME, ignore_errors=True)  # no fixture: xdist's first process runs no test

os.environ.update(
    AIRFLOW_HOME=str(HOME),
    AIRFLOW__CORE__DAGS_FOLDER=str(ROOT / "dags"),
    AIRFLOW__CORE__PLUGINS_FOLDER=str(ROOT / "plugins"),
    AIRFLOW__CORE__LOAD_EXAMPLES="False",
    AIRFLOW__CORE__UNIT_TEST_MODE="True",
    AIRFLOW__DATABASE__SQL_ALCHEMY_CONN=f"sqlite:///{HOME / 'airflow.db'}",
)
sys.path[:0] = [str(ROOT), str(ROOT / "plugins")]
pytest_plugins = ["tests.azurite", "tests.postgres", "tests.queues"]

PIPELINE = """
description: A tiny one.
owner: nobody
schedule: {start: 2020-01-01}
key: ride_id
date: day
source: {events: {path: "e/{date}.csv"}, labels: {path: "l/{date}.csv"}}
cleaning:
  columns: {ride_id: string, day: date, distance: double, carrier: string}
  labels: {ride_id: string, late: boolean}
  deduplicate: {by: [ride_id], order: [source_row]}
expectations: []
training: {target: late, min_rows: 100, holdout_days: 1, features: {numeric: [distance], categorical: [carrier]}}
governor: {metric: auc, max_quality_drop: 0.03, max_drifted_share: 0.5, windows: 5, alarming: 3, min_rows: 50}
rollout: {steps: [50], bake_minutes: 0}
"""
FEATURES = Features(numeric=["distance"], categorical=["carrier"])


def pytest_runtest_logstart() -> None:
    """Take SIGTERM back from a training of the test before, which only notes it and goes on."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)


def pytest_unconfigure() -> None:
    """Silence who still logs when pytest has closed its streams."""
    logging.getLogger("py4j").setLevel(logging.WARNING)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let the longest begin first, where tests run side by side; a file stays together (`--dist loadfile`)."""
    # Not by groups: under pytest 9.2 xdist 3.8 no longer finds them, says nothing, and ran the demo on both sides.
    folders = ("e2e", "dags", "cloud", "stages", "spark", "trials", "unit")
    items.sort(key=lambda item: folders.index(item.path.relative_to(ROOT / "tests").parts[0]))


@pytest.fixture(scope="session")
def rides_yaml() -> str:
    """The YAML of a small pipeline, `rides`."""
    return PIPELINE


@pytest.fixture(scope="session")
def deliver_rides() -> Callable[..., None]:
    """Return a function that delivers a day of `rides` with something to learn in it; `kinds`: e(vents), l(abels)."""

    def deliver(landing: Path, day: str, rows: int, *, kinds: str = "el", is_bad: bool = False) -> None:
        random = np.random.default_rng(int(day.replace("-", "")))
        distance = random.normal(0, 1, rows)
        late = distance + random.normal(0, 1, rows) > 0
        lines = {"e": ["ride_id,day,distance,carrier"], "l": ["ride_id,late"]}
        for row in range(rows):
            far = "far" if is_bad else f"{distance[row]:.3f}"
            lines["e"].append(f"{day}-{row},{day},{far},{random.choice(['AA', 'UA'])}")
            lines["l"].append(f"{day}-{row},{str(late[row]).lower()}")
        for kind in kinds:
            (landing / kind).mkdir(parents=True, exist_ok=True)
            (landing / kind / f"{day}.csv").write_text("\n".join(lines[kind]) + "\n")

    return deliver


@pytest.fixture(scope="session")
def free_ports() -> Callable[[int], list[int]]:
    """Return a function that finds ports nobody listens at."""

    def find(number: int) -> list[int]:
        with ExitStack() as stack:
            sockets = [stack.enter_context(socket.socket()) for _ in range(number)]
            for each in sockets:
                each.bind(("127.0.0.1", 0))
            return [each.getsockname()[1] for each in sockets]

    return find


@pytest.fixture(scope="session")
def airflow_database() -> None:
    """The tables of the empty Airflow."""
    from airflow.utils.db import initdb

    initdb()


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings of an installation in a temporary folder, with one pipeline, `rides`."""
    (tmp_path / "pipelines").mkdir()
    (tmp_path / "pipelines" / "rides.yaml").write_text(PIPELINE)
    monkeypatch.setenv("EVERGREEN_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("EVERGREEN_PIPELINES", str(tmp_path / "pipelines"))
    monkeypatch.delenv("EVERGREEN_LEDGER_URL", raising=False)
    monkeypatch.setenv("EVERGREEN_ENDPOINT_URL", "http://127.0.0.1:1")
    return load_settings()


@pytest.fixture
def rides(settings: Settings) -> Pipeline:
    """The pipeline of the temporary installation."""
    return load_pipeline("rides")


@pytest.fixture
def delivery_of() -> Callable[[Pipeline, str], dict[str, Path]]:
    """Return a function that says where a day's events and labels are delivered, where sources are files."""

    def where(pipeline: Pipeline, day: str) -> dict[str, Path]:
        kinds = {"events": pipeline.source.events, "labels": pipeline.source.labels}
        return {
            kind: load_settings().data / source.path.replace("{date}", day) for kind, source in kinds.items() if source
        }

    return where


@pytest.fixture
def no_room() -> Callable[..., AbstractContextManager[None]]:
    """Return a context in which this process, or another, finds the disk full: no file may grow any more."""

    @contextmanager
    def full(pid: int = 0, room: int = 64) -> Iterator[None]:
        before = resource.prlimit(pid, resource.RLIMIT_FSIZE)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (room, before[1]))
        try:
            yield
        finally:
            resource.prlimit(pid, resource.RLIMIT_FSIZE, before)

    return full


@pytest.fixture
def make_model(settings: Settings) -> Callable[..., tuple[str, str]]:
    """Write a model folder whose answer is made of slope x distance; return (folder, sha256).

    Binary: its sigmoid; regression: itself; multiclass: the softmax of it and its multiples.
    """

    def make(name: str, slope: float = 1.0, task: Task | None = None, **manifest: Any) -> tuple[str, str]:
        task = task or Binary()
        folder = settings.models / "rides" / name
        folder.mkdir(parents=True)
        content = _graph(slope, task).SerializeToString()
        (folder / artefact.MODEL).write_bytes(content)
        sha256 = artefact.sha256_of(content)
        about = {"task": task.as_dict(), "features": FEATURES.model_dump(), "sha256": sha256, "snapshot_id": "1"}
        (folder / artefact.MANIFEST).write_text(json.dumps({**about, **manifest}))
        _write_rows(folder, sha256, task)
        return str(folder), sha256

    return make


def _write_rows(folder: Path, sha256: str, task: Task) -> None:
    rng = np.random.default_rng(0)
    columns = {"distance": rng.normal(0, 1, 500), "carrier": rng.choice(["AA", "UA", "B6"], 500)}
    found = artefact.predict(artefact.load_session(folder, sha256), columns, FEATURES)
    table = pa.table({**columns, **task.columns(found)})
    pq.write_table(table, folder / artefact.HOLDOUT)
    pq.write_table(table, folder / artefact.REFERENCE)


def _graph(slope: float, task: Task) -> onnx.ModelProto:
    steps = [number + 1.0 for number in range(len(getattr(task, "classes", ())))]
    answer = {
        "binary": [("Sigmoid", ["scaled"], "column"), ("Reshape", ["column", "flat"], "prediction")],
        "regression": [("Reshape", ["scaled", "flat"], "prediction")],
        "multiclass": [("Mul", ["scaled", "steps"], "logits"), ("Softmax", ["logits"], "prediction")],
    }[task.name]
    nodes = [
        helper.make_node("IsNaN", ["distance"], ["missing"]),
        helper.make_node("Where", ["missing", "nought", "distance"], ["known"]),
        helper.make_node("Mul", ["known", "slope"], ["scaled"]),
        helper.make_node("Identity", ["carrier"], ["unused"]),
        *(helper.make_node(name, inputs, [output]) for name, inputs, output in answer),
    ]
    constants = [
        helper.make_tensor("nought", TensorProto.FLOAT, [1], [0.0]),
        helper.make_tensor("slope", TensorProto.FLOAT, [1], [slope]),
        helper.make_tensor("flat", TensorProto.INT64, [1], [-1]),
        helper.make_tensor("steps", TensorProto.FLOAT, [1, len(steps)], steps),
    ]
    inputs = [
        helper.make_tensor_value_info("distance", TensorProto.FLOAT, [None, 1]),
        helper.make_tensor_value_info("carrier", TensorProto.STRING, [None, 1]),
    ]
    outputs = [
        helper.make_tensor_value_info("prediction", TensorProto.FLOAT, [None, None] if steps else [None]),
        helper.make_tensor_value_info("unused", TensorProto.STRING, [None, 1]),
    ]
    graph = helper.make_graph(nodes, "tiny", inputs, outputs, constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


@pytest.fixture
def approve(make_model: Callable[..., tuple[str, str]]) -> Callable[..., str]:
    """Enter a release that the gate approved against a version; return its id."""

    def enter(compared_with: int | None = None, slope: float = 1.0) -> str:
        with open_ledger() as session:
            number = releases.next_version(session, "rides")
            folder, sha256 = make_model(f"m{number}", slope=slope)
            release = releases.add_release(
                session,
                "rides",
                f"request-{number}",
                model_uri=folder,
                sha256=sha256,
                tracking_run="",
                judged_until="2020-01-01",
                quality=0.7,
                metrics={},
                gate={},
                compared_with=compared_with,
            )
            releases.judge(session, release.id, approved=True, note="good")
            return release.id

    return enter
