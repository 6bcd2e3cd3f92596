"""This file takes strangers' data sets from files to a monitored model: no Python, a few edited lines."""

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console

from bench.strangers import DATA_SETS, deal, edit
from include import gatekeeping, promotion, publication, registry, retraining, validation, verification
from include.cleaning import job
from include.config import load_pipeline
from include.demo.airflow_api import wait_until
from include.ingestion.delivery import land
from include.learning.metrics import METRICS
from include.ledger import Decision, Release, Window, nights, open_ledger, releases
from include.monitoring import deciding, measuring, windows
from include.onboarding.guess import Asked
from include.onboarding.look import located, new
from include.pipeline import Pipeline
from include.settings import ROOT, load_settings, working_in
from include.status import status_view
from include.training.plan import plan


@dataclass(frozen=True)
class Story:
    """How it ended."""

    seconds: dict[str, float]
    edited_lines: int
    refused: dict[str, str]
    first: Decision
    release: Release
    answers: list[dict[str, Any]]
    window: Window
    last: Decision
    status: str


def measure() -> dict[str, Any]:
    """Return the seconds from files to a monitored model and the edited lines, by data set; the first starts Spark."""
    with tempfile.TemporaryDirectory(prefix="evergreen-new-") as folder, served(Path(folder)):
        stories = {name: tell(name, Path(folder)) for name in DATA_SETS}
    return {
        name: {
            "seconds": round(sum(story.seconds.values()), 1),
            "edited_lines": story.edited_lines,
            "by_stage": {stage: round(seconds, 1) for stage, seconds in story.seconds.items()},
            "metrics": {key: round(value, 3) for key, value in story.release.metrics.items() if key in METRICS},
        }
        for name, story in stories.items()
    }


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """Keep an installation in a folder, with a real endpoint beside it, and give the endpoint's URL."""
    (folder / "pipelines").mkdir(parents=True)
    port = _free_port()
    changed = {"EVERGREEN_PIPELINES": str(folder / "pipelines"), "EVERGREEN_ENDPOINT_URL": f"http://127.0.0.1:{port}"}
    before = {name: os.environ.get(name) for name in (*changed, "SPARK_REMOTE")}
    os.environ.pop("SPARK_REMOTE", None)
    os.environ.update(changed)
    with ExitStack() as stack:
        stack.callback(lambda: os.environ.update({name: value for name, value in before.items() if value is not None}))
        stack.callback(lambda: [os.environ.pop(name) for name in changed])
        stack.enter_context(working_in(folder / "data"))
        app = ["uvicorn", "--factory", "include.serving.app:create_app", "--port", str(port), "--log-level", "warning"]
        server = subprocess.Popen([sys.executable, "-m", *app], cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)})
        stack.callback(server.wait)
        stack.callback(server.terminate)
        url = changed["EVERGREEN_ENDPOINT_URL"]
        wait_until(lambda: _answers(url), 120, lambda: f"no endpoint at {url}")
        yield url


def tell(name: str, folder: Path) -> Story:  # noqa: PLR0915  the story in its order
    """Take a data set through the whole loop."""
    seconds: dict[str, float] = {}

    @contextmanager
    def timed(stage: str) -> Iterator[None]:
        began = time.perf_counter()
        yield
        seconds[stage] = time.perf_counter() - began

    about, days = DATA_SETS[name], deal(name, folder / "deliveries")
    *history, night = days
    with timed("new"):
        events = located(str(folder / "deliveries" / name / "{date}.csv"), "--events")
        path, *_ = new(Asked(name, about.target, events))
        edited_lines = edit(path, about.edits)
        pipeline = load_pipeline(name)
    with timed("ingest"):
        publication_id, refused = ingest(pipeline, history, "history")
    with timed("monitor"):
        first = monitor(pipeline, publication_id)
    with timed("train"):
        release = train(pipeline, str(first.request_id))
    with timed("deploy"):
        verification.verify(release.id)
        promotion.promote(release.id)
    with timed("ask"):
        answers = ask(pipeline, night)
    with timed("night"):
        publication_id, refused_at_night = ingest(pipeline, [night], "night")
        last = monitor(pipeline, publication_id)
    with open_ledger() as session:
        window = nights.windows_of(session, name)[-1]
    console = Console(record=True, width=150, file=Path(os.devnull).open("w"))  # noqa: SIM115  lives as long as the console
    console.print(status_view([pipeline]))
    return Story(
        seconds,
        edited_lines,
        {**refused, **refused_at_night},
        first,
        release,
        answers,
        window,
        last,
        console.export_text(),
    )


def ingest(pipeline: Pipeline, days: list[str], run_key: str) -> tuple[str, dict[str, str]]:
    """Ingest days and return the publication's id with the days that were refused."""
    staged = job.clean(pipeline, land(pipeline, days, run_key), run_key)
    verdict = validation.validate(pipeline, staged, run_key)
    return str(publication.publish(pipeline, staged, verdict, run_key)), verdict["refused"]


def monitor(pipeline: Pipeline, publication_id: str) -> Decision:
    """Monitor a publication and return what the governor said."""
    measuring.measure(pipeline, windows.collect(pipeline, publication_id))
    return deciding.decide(pipeline, publication_id)


def train(pipeline: Pipeline, request_id: str) -> Release:
    """Train for a request, judge and register the model, and return its release."""
    claimed = retraining.claim(pipeline, request_id, "by-hand", {})
    spec = plan(pipeline, str(claimed))
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    subprocess.run(
        [sys.executable, "-m", "include.training", spec], cwd=ROOT, env=environment, check=True, capture_output=True
    )
    release_id = gatekeeping.evaluate(pipeline, request_id)
    registry.register(release_id)
    with open_ledger() as session:
        return releases.get_release(session, release_id)


def ask(pipeline: Pipeline, day: str) -> list[dict[str, Any]]:
    """Ask the endpoint about a day's events before their outcome is known, and wait until that is captured."""
    path = str(getattr(pipeline.source.events, "path", "")).replace("{date}", day)
    rows = job.feature_rows(pipeline, {day: str(load_settings().data / path)}).to_pylist()
    settings = load_settings()
    url = f"{settings.endpoint_url}/invocations/{pipeline.name}"
    content = json.dumps({"instances": rows})
    response = httpx.post(url, content=content, headers=settings.endpoint_headers, timeout=30, trust_env=False)
    response.raise_for_status()
    folder = load_settings().lake / pipeline.name / "predictions" / f"day={day}"
    wait_until(lambda: any(folder.glob("*.parquet")), 60, lambda: f"nothing captured in {folder}")
    answers: list[dict[str, Any]] = response.json()["predictions"]
    return answers


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/ping", trust_env=False).status_code == 200
    except httpx.TransportError:
        return False
