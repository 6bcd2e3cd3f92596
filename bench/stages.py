"""This file measures each stage for a night, a winter and a year of data."""

import subprocess
import sys
import time
from datetime import date
from typing import Any

from bench.night import PIPELINE, deliveries_of_their_own, ingest
from include import gatekeeping
from include.artefact import read_manifest
from include.config import load_pipeline
from include.ledger import Publication, open_ledger, releases, requests
from include.partition import days_between
from include.settings import ROOT
from include.stack import Stack
from include.training.plan import plan

RANGES = {
    1: (date(2013, 1, 1),) * 2,
    59: (date(2013, 1, 1), date(2013, 2, 28)),
    365: (date(2013, 1, 1), date(2013, 12, 31)),
}


def measure(stack: Stack) -> dict[str, Any]:  # noqa: ARG001 - the services only have to run
    """Return seconds and published rows per second, by stage and number of days; Spark and Python are warm."""
    found: dict[str, Any] = {}
    with deliveries_of_their_own("stages"):
        ingest(["2013-06-30"], "warm-up")
        for number, (first, last) in RANGES.items():
            publication_id, seconds = ingest(days_between(first, last), f"stages-{number}")
            with open_ledger() as session:
                rows = session.get_one(Publication, publication_id).rows
            for stage, spent in seconds.items():
                found.setdefault(stage, {})[str(number)] = _measured(spent, rows)
            if number > 1:
                for stage, measured in train(f"{number}-days").items():
                    found.setdefault(stage, {})[str(number)] = measured
    return found


def train(key: str) -> dict[str, dict[str, float]]:
    """Return what a training process on what is published costs, imports and all, and what the gate costs after it."""
    pipeline = load_pipeline(PIPELINE)
    with open_ledger() as session:
        request = requests.file_request(session, PIPELINE, reason="bench", triggered_by="hand", key=key, detail={})
    spec = plan(pipeline, request.id)
    began = time.perf_counter()
    subprocess.run([sys.executable, "-m", "include.training", spec], cwd=ROOT, check=True, capture_output=True)
    trained = time.perf_counter()
    release_id = gatekeeping.evaluate(pipeline, request.id)
    judged = time.perf_counter()
    with open_ledger() as session:
        manifest = read_manifest(releases.get_release(session, release_id).model_uri)
    return {
        "train": _measured(trained - began, manifest["train_rows"]),
        "gate": _measured(judged - trained, manifest["holdout_rows"]),
    }


def _measured(seconds: float, rows: int) -> dict[str, float]:
    return {"seconds": round(seconds, 2), "rows_per_s": round(rows / seconds)}
