"""This file measures a wake-up: from a keyed event to the request that it names, claimed by a run."""

import statistics
from datetime import UTC, datetime
from typing import Any

from bench.night import PIPELINE
from include.demo.airflow_api import Airflow, wait_until
from include.ledger import Request, open_ledger, requests
from include.stack import Stack

TIMES = 30


def measure(stack: Stack) -> dict[str, Any]:
    """Return median and longest seconds from the event's POST to the claim's moment in the ledger, in turn.

    To be run on an installation without data: each training then ends at once, for want of rows.
    """
    airflow = Airflow(stack.urls["airflow"], stack.password)
    airflow.wait_for_dags({f"{PIPELINE}__train"})
    seconds = [_wake(airflow, number) for number in range(TIMES + 1)][1:]  # the first one pays for all imports
    return {
        "median_seconds": round(statistics.median(seconds), 2),
        "longest_seconds": round(max(seconds), 2),
        "events": TIMES,
    }


def _wake(airflow: Airflow, number: int) -> float:
    with open_ledger() as session:
        request_id = requests.file_request(
            session, PIPELINE, reason="To be measured", triggered_by="message", key=f"wake-{number}", detail={}
        ).id
    began = datetime.now(UTC)
    airflow.emit(f"{PIPELINE}.retrain", request_id)
    wait_until(lambda: _read(request_id).closed_at is not None, 60, lambda: f"{request_id} has not been closed")
    claimed_at = _read(request_id).claimed_at
    assert claimed_at is not None  # noqa: S101 - closed by the run that had claimed it
    return (claimed_at - began).total_seconds()


def _read(request_id: str) -> Request:
    with open_ledger() as session:
        return session.get_one(Request, request_id)
