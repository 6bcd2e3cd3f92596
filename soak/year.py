"""This file lives through a year of nights with the clock moved on, and measures what it leaves on the disk.

Everything is real but Airflow and the clock: Spark, Great Expectations, the endpoint and its capture, Evidently, the
governor, trainings, the gate, promotions, MLflow's store, and the sweep's housekeeping. `time-machine` moves this
process's clock; files get their simulated time after each run, since a disk's clock cannot be moved.
"""

import os
import subprocess
import sys
import tempfile
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import time_machine
import uvicorn
import yaml

from bench.night import PIPELINE, ingest, monitor
from include import gatekeeping, promotion, registry, retraining, sweeping, verification
from include.cleaning import job
from include.config import load_pipeline
from include.demo.airflow_api import wait_until
from include.demo.flights import Deliveries
from include.demo.traffic import Traffic
from include.ledger import open_ledger, releases, requests
from include.partition import days_between
from include.serving.app import create_app
from include.settings import ROOT, load_settings
from include.training.plan import plan

FIRST, LAST = date(2013, 1, 1), date(2013, 12, 31)
NIGHTS_A_RUN = 5
PORT = 8473
KEPT = 45
RETENTION = {
    **dict.fromkeys(
        [
            "raw_days", "quarantine_days", "predictions_days", "reports_days", "runs_days", "snapshots_days",
            "models_days", "ledger_days",
        ],
        KEPT,
    ),
    "clean_days": 70,
    "former_champions": 2,
}  # fmt: skip


def measure() -> dict[str, Any]:
    """Return the disk used at the end of each simulated month, in MB: in all, and by what uses it."""
    with tempfile.TemporaryDirectory(prefix="evergreen-soak-") as folder:
        _make_installation(Path(folder))
        Deliveries(load_settings().data).seed(delivered_until=LAST.isoformat())
        by_month: dict[str, dict[str, float]] = {}
        days = days_between(FIRST, LAST)
        flights = _known_in_the_morning(days)
        with _endpoint() as traffic:
            for number in range(0, len(days), NIGHTS_A_RUN):
                run = days[number : number + NIGHTS_A_RUN]
                _live_through(run, flights, traffic)
                by_month[run[-1][:7]] = _megabytes()
                print(run[-1], by_month[run[-1][:7]], flush=True)
        with open_ledger() as session:
            trained = len(releases.releases_of(session, PIPELINE))
    return {
        "disk_mb_by_month": [round(sum(kinds.values()), 1) for kinds in by_month.values()],
        "by_kind": {month: kinds for month, kinds in by_month.items() if month[-2:] in {"01", "04", "08", "12"}},
        "nights": len(days),
        "nights_a_run": NIGHTS_A_RUN,
        "requests_rows": traffic.rows_asked,
        "models_trained": trained,
        "retention": RETENTION,
    }


class Asking(Traffic):
    """Requests of a hundred rows; each is written to a file of its own, as a slow day's would be."""

    rows_asked = 0

    def ask_day(self, flights: pa.Table, flush: Any) -> None:
        """Ask about a day's flights."""
        for start in range(0, len(flights), 100):
            self.ask(flights.slice(start, 100))
            flush()
        self.rows_asked += len(flights)
        if self.failures:
            raise RuntimeError(f"{len(self.failures)} requests failed: {self.failures[:3]}")


def _live_through(run: list[str], flights: pa.Table, asking: Asking) -> None:
    moment = datetime.combine(date.fromisoformat(run[-1]) + timedelta(days=1), time(5), UTC)
    with time_machine.travel(moment, tick=True):
        if _champion():
            for day in run:
                asking.ask_day(flights.filter(pc.equal(flights["flight_date"], day)), asking.flush)
        publication_id, _ = ingest(run, f"run-{run[0]}")
        monitor(publication_id)
        _train_what_is_asked_for()
    _set_clock_of_files(moment)
    with time_machine.travel(moment, tick=True):
        sweeping.expire([PIPELINE], log_days=KEPT)


def _train_what_is_asked_for() -> None:
    pipeline = load_pipeline(PIPELINE)
    with open_ledger() as session:
        waiting = [request.id for request in requests.open_requests(session, PIPELINE, older_than_seconds=0)]
    for request_id in waiting:
        retraining.claim(pipeline, request_id, "soak", {})
        spec = plan(pipeline, request_id)
        subprocess.run([sys.executable, "-m", "include.training", spec], cwd=ROOT, check=True, capture_output=True)
        release = registry.register(gatekeeping.evaluate(pipeline, request_id))
        if release.status == "approved":
            verification.verify(release.id)
            promotion.promote(release.id)
        print(request_id, release.status, release.note, flush=True)


def _champion() -> bool:
    with open_ledger() as session:
        return releases.champion_of(session, PIPELINE) is not None


def _make_installation(folder: Path) -> None:
    text = yaml.safe_load((ROOT / "config" / "pipelines" / f"{PIPELINE}.yaml").read_text())
    (folder / "pipelines").mkdir()
    path = folder / "pipelines" / f"{PIPELINE}.yaml"
    path.write_text(yaml.safe_dump({**text, "retention": RETENTION}, sort_keys=False))
    os.environ["EVERGREEN_DATA"] = str(folder / "data")
    os.environ["EVERGREEN_PIPELINES"] = str(folder / "pipelines")
    os.environ["EVERGREEN_ENDPOINT_URL"] = f"http://127.0.0.1:{PORT}"
    for name in ("EVERGREEN_LEDGER_URL", "MLFLOW_TRACKING_URI", "SPARK_REMOTE", "AIRFLOW__LOGGING__BASE_LOG_FOLDER"):
        os.environ.pop(name, None)


def _known_in_the_morning(days: list[str]) -> pa.Table:
    deliveries = Deliveries(load_settings().data)
    return job.feature_rows(load_pipeline(PIPELINE), {day: str(deliveries.events_file(day)) for day in days})


@contextmanager
def _endpoint() -> Iterator[Asking]:
    app = create_app()
    server = uvicorn.Server(uvicorn.Config(app, port=PORT, access_log=False, log_level="warning"))
    thread = threading.Thread(target=server.run, name="endpoint")
    thread.start()
    try:
        wait_until(lambda: server.started, 60, lambda: "the endpoint did not start")
        asking = Asking(f"http://127.0.0.1:{PORT}", PIPELINE, rows=100)
        asking.flush = app.endpoint.capture.flush
        yield asking
    finally:
        server.should_exit = True
        thread.join()


def _set_clock_of_files(moment: datetime) -> None:
    data, seconds = load_settings().data, moment.timestamp()
    for root in ("lake", "models", "mlartifacts"):
        for path in (data / root).rglob("*"):
            if path.stat().st_mtime > seconds + 3600:
                os.utime(path, (seconds, seconds))


def _megabytes() -> dict[str, float]:
    """Return the disk's blocks by kind, without what the airline has delivered into the landing zone."""
    data = load_settings().data
    lake = data / "lake" / PIPELINE
    blocks: dict[str, int] = defaultdict(int)
    for path in data.rglob("*"):
        if path.is_file() and not path.is_relative_to(data / "landing") and not path.is_relative_to(data / "demo"):
            inside = path.relative_to(lake if path.is_relative_to(lake) else data).parts
            blocks[_kind(inside[0])] += path.stat().st_blocks
    return {kind: round(number * 512 / 2**20, 2) for kind, number in sorted(blocks.items())}


def _kind(folder: str) -> str:
    names = {"staged": "clean table", "lake": "clean table's metadata", "mlartifacts": "mlflow"}
    return names.get(folder, "mlflow" if folder.startswith("mlflow") else folder.split(".")[0])
