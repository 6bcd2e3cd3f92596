"""This file asks the endpoint about published days, so that monitoring has something to look at."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import httpx
import pyarrow as pa
import pyarrow.parquet as pq

from bench.night import PIPELINE
from include import lake
from include.config import load_pipeline
from include.demo.airflow_api import wait_until
from include.demo.traffic import Traffic
from include.settings import ROOT, load_settings

PORT = 8099


@contextmanager
def endpoint_of_its_own() -> Iterator[None]:
    """Run an endpoint for this process's data folder, beside the services'."""
    url = f"http://127.0.0.1:{PORT}"
    before = os.environ["EVERGREEN_ENDPOINT_URL"]
    command = ["uvicorn", "--factory", "include.serving.app:create_app", "--port", str(PORT), "--no-access-log"]
    server = subprocess.Popen([sys.executable, "-m", *command], cwd=ROOT, stderr=subprocess.DEVNULL)
    os.environ["EVERGREEN_ENDPOINT_URL"] = url
    try:
        wait_until(lambda: _answers(url), 60, lambda: f"no endpoint at {url}")
        yield
    finally:
        os.environ["EVERGREEN_ENDPOINT_URL"] = before
        server.terminate()
        server.wait()


def ask_about(first: str, last: str) -> None:
    """Ask the endpoint for a prediction of every published row of a range of days; all of them are captured then."""
    pipeline = load_pipeline(PIPELINE)
    columns = list(dict.fromkeys([pipeline.key, pipeline.date, *pipeline.training.features.names]))
    rows = lake.read_clean(PIPELINE, first, last, columns)
    traffic = Traffic(load_settings().endpoint_url, PIPELINE, rows=1000)
    before = _captured()
    traffic.ask(rows.set_column(1, pipeline.date, rows[pipeline.date].cast(pa.string())))
    if traffic.failures:
        raise RuntimeError(f"{len(traffic.failures)} requests failed: {traffic.failures[:3]}")
    wait_until(
        lambda: _captured() - before == len(rows), 120, lambda: f"{_captured() - before} of {len(rows)} captured"
    )


def _captured() -> int:
    files = (load_settings().lake / PIPELINE / "predictions").glob("day=*/*.parquet")
    return sum(pq.read_metadata(path).num_rows for path in files)


def _answers(url: str) -> bool:
    with suppress(httpx.TransportError):
        return httpx.get(f"{url}/ping", trust_env=False).is_success
    return False
