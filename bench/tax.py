"""This file measures what orchestration costs: a night through Airflow against the same functions in a bare script."""

import os
import statistics
import subprocess
import sys
import time
from datetime import date, timedelta
from typing import Any

from bench.asking import ask_about
from bench.night import PIPELINE
from include.demo.airflow_api import FINISHED, Airflow, wait_until
from include.demo.flights import Deliveries
from include.ledger import nights, open_ledger, releases, requests
from include.settings import ROOT
from include.stack import Stack

HISTORY = ("2013-09-01", "2013-10-31")  # what the first model learns from
FIRST = date(2013, 11, 1)
NIGHTS = 5
SCHEDULED = 14  # nights of the shipped schedule; they run first, and are not measured


def measure(stack: Stack) -> dict[str, Any]:
    """Return median seconds of a served night (ingest and monitor) either way, measured in turn, and their ratio.

    The nights are ingested once before: only a published day can be asked about.
    """
    Deliveries(stack.data).seed(delivered_until="2013-12-31")
    airflow = Airflow(stack.urls["airflow"], stack.password)
    airflow.wait_for_dags({f"{PIPELINE}__ingest", f"{PIPELINE}__monitor"})
    airflow.unpause(f"{PIPELINE}__ingest")
    wait_until(lambda: _scheduled_nights_are_done(airflow), 300, lambda: "the scheduled nights have not ended")
    _ingest(airflow, *HISTORY)
    wait_until(_is_settled, 300, lambda: "there is no first model")
    last = FIRST + timedelta(days=2 * NIGHTS + 1)
    _ingest(airflow, FIRST.isoformat(), last.isoformat())
    wait_until(_is_settled, 300, lambda: "the nights to come have not been monitored")
    ask_about(FIRST.isoformat(), last.isoformat())
    through, bare = [], []
    for number in range(NIGHTS + 1):
        day = (FIRST + timedelta(days=2 * number)).isoformat()
        through.append(_through_airflow(airflow, day))
        bare.append(_in_a_bare_script((FIRST + timedelta(days=2 * number + 1)).isoformat()))
    seconds = {"airflow_seconds": statistics.median(through[1:]), "bare_seconds": statistics.median(bare[1:])}
    ratio = seconds["airflow_seconds"] / seconds["bare_seconds"]
    return {name: round(value, 2) for name, value in seconds.items()} | {"night": round(ratio, 2), "nights": NIGHTS}


def _through_airflow(airflow: Airflow, day: str) -> float:
    began = time.perf_counter()
    _ingest(airflow, day, day)
    wait_until(_all_monitored, 120, lambda: "a publication has not been monitored")
    return time.perf_counter() - began


def _ingest(airflow: Airflow, first: str, last: str) -> None:
    run_id = airflow.trigger(f"{PIPELINE}__ingest", first=first, last=last)
    if airflow.wait_for_run(f"{PIPELINE}__ingest", run_id) != "success":
        raise RuntimeError(f"The ingest of {first} to {last} failed: {run_id}")


def _in_a_bare_script(day: str) -> float:
    began = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "bench.night", day], cwd=ROOT, env=os.environ, check=True, capture_output=True
    )
    return time.perf_counter() - began


def _scheduled_nights_are_done(airflow: Airflow) -> bool:
    runs = airflow.runs()
    nights_run = [run for run in runs if run["run_type"] == "scheduled" and run["dag_id"] == f"{PIPELINE}__ingest"]
    return len(nights_run) >= SCHEDULED and all(run["state"] in FINISHED for run in runs)


def _is_settled() -> bool:
    with open_ledger() as session:
        moving = releases.releases_of(session, PIPELINE, "candidate", "approved", "promoting")
        waits = [*requests.unfinished_requests(session, PIPELINE), *moving]
        is_settled = not waits and releases.champion_of(session, PIPELINE) is not None
    return is_settled and _all_monitored()  # a transaction of its own: they run one at a time


def _all_monitored() -> bool:
    with open_ledger() as session:
        return not nights.waiting_publications(session, PIPELINE, older_than_seconds=0)
