"""This file measures each stage for a night, a winter and a year of data."""

import subprocess
import sys
import time
from datetime import date
from typing import Any

from bench.asking import ask_about, endpoint_of_its_own
from bench.night import PIPELINE, deliveries_of_their_own, ingest, monitor
from include import gatekeeping, promotion, verification
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

Measured = dict[str, tuple[float, int]]  # stage: (seconds, rows)


def measure(stack: Stack) -> dict[str, Any]:  # noqa: ARG001 - the services only have to run
    """Return seconds and rows per second, by stage and number of days; Spark and Python are warm."""
    found: dict[int, Measured] = {number: {} for number in RANGES}
    published: dict[int, str] = {}
    with deliveries_of_their_own("stages"), endpoint_of_its_own():
        ingest(["2013-06-30"], "warm-up")
        for number, (first, last) in RANGES.items():
            published[number], seconds = ingest(days_between(first, last), f"stages-{number}")
            rows = _rows_of(published[number])
            found[number] |= {stage: (spent, rows) for stage, spent in seconds.items()}
            if number > 1:
                found[number] |= _train_and_deploy(f"{number}-days")
        ask_about(*(end.isoformat() for end in RANGES[365]))
        for number in RANGES:
            found[number]["monitor"] = (monitor(published[number]), _rows_of(published[number]))
    return {
        stage: {
            str(number): {"seconds": round(measured[stage][0], 2), "rows_per_s": round(_rate(*measured[stage]))}
            for number, measured in found.items()
            if stage in measured
        }
        for stage in found[59]
    }


def _train_and_deploy(key: str) -> Measured:
    """Train in a process of its own, imports and all, bring the model before the gate, and deploy what passes it."""
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
        release = releases.get_release(session, release_id)
    manifest = read_manifest(release.model_uri)
    measured = {
        "train": (trained - began, manifest["train_rows"]),
        "gate": (judged - trained, manifest["holdout_rows"]),
    }
    if release.status == "approved":
        began = time.perf_counter()
        verification.verify(release_id)
        promotion.promote(release_id)
        measured["deploy"] = (time.perf_counter() - began, min(manifest["holdout_rows"], verification.VERIFIED_ROWS))
    return measured


def _rows_of(publication_id: str) -> int:
    with open_ledger() as session:
        return session.get_one(Publication, publication_id).rows


def _rate(seconds: float, rows: int) -> float:
    return rows / seconds
