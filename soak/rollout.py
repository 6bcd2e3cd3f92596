"""This file swaps versions, rolls back and kills a process of the endpoint while it is asked without pause."""

import os
import re
import signal
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from include import promotion, rollback, rollout, verification
from include.ledger import open_ledger, releases
from include.pipeline import ANSWER_ID, ANSWER_VERSION, Pipeline
from include.settings import ROOT, working_in
from soak.endpoint import Endpoint, approve, made_up, serving
from soak.load import BROKEN, asking

SWAPS, ROLLBACKS, REQUESTS = 20, 5, 200_000
WORKERS = 2
KILLED_AT = 7  # swap in which a process of the endpoint is killed
ROLLOUT = "rollout: {shadow: live, steps: [25, 100], bake_minutes: 0.03, min_requests: 20}"
ROWS = 200


def measure() -> dict[str, Any]:
    """Return how many of the requests failed, and what was done to the endpoint meanwhile."""
    with tempfile.TemporaryDirectory(prefix="evergreen-soak-") as name, working_in(Path(name)):
        folder, pipelines = Path(name), Path(name) / "pipelines"
        pipelines.mkdir()
        yaml = (ROOT / "config" / "pipelines" / "flight_delays.yaml").read_text()
        (pipelines / "flight_delays.yaml").write_text(re.sub("^rollout: .*$", ROLLOUT, yaml, flags=re.MULTILINE))
        with serving(folder, workers=WORKERS, pipelines=pipelines) as endpoint:
            promotion._point_alias = lambda _: None  # made-up releases are in no registry
            os.environ |= {"EVERGREEN_PIPELINES": str(pipelines), "EVERGREEN_ENDPOINT_URL": endpoint.url}
            return _swap_under_load(folder, endpoint)


def _swap_under_load(folder: Path, endpoint: Endpoint) -> dict[str, Any]:
    pipeline = endpoint.pipeline
    began, swap_seconds, back_seconds, kills = time.monotonic(), [], [], 0
    promotion.promote(approve(pipeline, None))
    with asking(endpoint.port, f"/invocations/{pipeline.name}", _rows(pipeline), pipeline.key) as load:
        for number in range(1, SWAPS + 1):
            release_id = approve(pipeline, _champion(pipeline).version)
            started = time.monotonic()
            verification.verify(release_id)
            while not rollout.advance(release_id).is_over:
                if number == KILLED_AT and not kills:
                    os.kill(_workers(endpoint)[0]["pid"], signal.SIGKILL)
                    kills += 1
                time.sleep(0.1)
            promotion.promote(release_id)
            swap_seconds.append(time.monotonic() - started)
            if number % (SWAPS // ROLLBACKS) == 0:
                started = time.monotonic()
                rollback.roll_back(pipeline.name, "the trial wants it", rollback.version_before(pipeline.name))
                back_seconds.append(time.monotonic() - started)
        answered = _answered(endpoint)
        while answered < REQUESTS:
            time.sleep(1)
            answered = _answered(endpoint)
    captured, doubled = _captured(folder, pipeline)
    return {
        "requests": load.requests,
        "failed": load.failed,
        "swaps": SWAPS,
        "rollbacks": ROLLBACKS,
        "worker_kills": kills,
        "broken_connections": load.counts[BROKEN, ""],
        "answers_not_captured": load.requests - captured,
        "captured_twice": doubled,
        "swap_seconds": round(statistics.median(swap_seconds), 2),
        "rollback_seconds": round(statistics.median(back_seconds), 2),
        "seconds": round(time.monotonic() - began, 1),
        "by_version": {version: number for (status, version), number in sorted(load.counts.items()) if status == "200"},
    }


def _champion(pipeline: Pipeline) -> Any:
    with open_ledger() as session:
        return releases.champion_of(session, pipeline.name)


def _workers(endpoint: Endpoint) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = httpx.get(f"{endpoint.url}/ping", trust_env=False).json()["workers"]
    return found


def _answered(endpoint: Endpoint) -> float:
    page = httpx.get(f"{endpoint.url}/metrics", trust_env=False, timeout=30).text
    lines = (line for line in page.splitlines() if line.startswith("evergreen_request_seconds_count{"))
    return sum(float(line.split()[-1]) for line in lines)


def _rows(pipeline: Pipeline) -> list[dict[str, Any]]:
    columns = made_up(pipeline.training.features, np.random.default_rng(1))
    return pa.table({name: pa.array(values) for name, values in columns.items()}).slice(0, ROWS).to_pylist()


def _captured(folder: Path, pipeline: Pipeline) -> tuple[int, int]:
    """Return how many answers were captured once, and how many oftener."""
    files = (folder / "lake" / pipeline.name / "predictions").glob("day=*/*.parquet")
    rows = pa.concat_tables(pq.ParquetFile(path).read(columns=[ANSWER_ID, ANSWER_VERSION]) for path in files)
    once = pc.count_distinct(rows[ANSWER_ID]).as_py()
    return once, len(rows) - once
