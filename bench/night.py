"""This file is a night without Airflow: the same stage functions, one after another, timed."""

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from include import publication, validation
from include.cleaning import job
from include.config import load_pipeline
from include.demo.flights import Deliveries
from include.ingestion.delivery import land
from include.monitoring import deciding, measuring, windows
from include.settings import load_settings

PIPELINE = "flight_delays"


def ingest(days: list[str], run_key: str) -> tuple[str, dict[str, float]]:
    """Ingest days and return the publication's id and the seconds of each stage."""
    pipeline = load_pipeline(PIPELINE)
    seconds: dict[str, float] = {}

    @contextmanager
    def timed(stage: str) -> Iterator[None]:
        began = time.perf_counter()
        yield
        seconds[stage] = time.perf_counter() - began

    with timed("land"):
        landed = land(pipeline, days, run_key)
    with timed("clean"):
        staged = job.clean(pipeline, landed, run_key)
    with timed("validate"):
        verdict = validation.validate(pipeline, staged, run_key)
    with timed("publish"):
        publication_id = publication.publish(pipeline, staged, verdict, run_key)
    if publication_id is None:
        raise RuntimeError(f"{days[0]} to {days[-1]} was refused: {verdict['refused']}")
    return publication_id, seconds


def monitor(publication_id: str) -> float:
    """Monitor a publication and return the seconds it took."""
    began = time.perf_counter()
    pipeline = load_pipeline(PIPELINE)
    measuring.measure(pipeline, windows.collect(pipeline, publication_id))
    deciding.decide(pipeline, publication_id)
    return time.perf_counter() - began


@contextmanager
def deliveries_of_their_own(name: str) -> Iterator[None]:
    """Give the stages of this process an empty lake and a whole delivered year, beside the services' own data."""
    before = os.environ["EVERGREEN_DATA"]
    os.environ["EVERGREEN_DATA"] = f"{before}/{name}"
    os.environ["EVERGREEN_LEDGER_URL"] = f"sqlite:///{before}/{name}/ledger.db"
    try:
        Deliveries(load_settings().data).seed(delivered_until="2013-12-31")
        yield
    finally:
        os.environ["EVERGREEN_DATA"] = before
        del os.environ["EVERGREEN_LEDGER_URL"]


if __name__ == "__main__":
    publication_made, _ = ingest([sys.argv[1]], f"bare-{sys.argv[1]}")
    monitor(publication_made)
