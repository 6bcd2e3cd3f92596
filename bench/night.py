"""This file is a night without Airflow: the same stage functions, one after another, timed."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from include import lake, publication, validation
from include.cleaning import job
from include.config import load_pipeline
from include.ingestion import files
from include.monitoring import deciding, measuring, windows

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
        landed = files.land(pipeline, days, run_key)
    with timed("clean"):
        staged = job.clean(pipeline, landed, run_key)
    with timed("validate"):
        verdict = validation.validate(pipeline, staged, run_key)
    with timed("publish"):
        publication_id = publication.publish(pipeline, staged, verdict, run_key)
    if publication_id is None:
        raise RuntimeError(f"{days[0]} to {days[-1]} was refused: {verdict['refused']}")
    return publication_id, seconds


def monitor(publication_id: str) -> None:
    """Monitor a publication."""
    pipeline = load_pipeline(PIPELINE)
    measuring.measure(pipeline, windows.collect(pipeline, publication_id))
    deciding.decide(pipeline, publication_id)


def rows_published() -> int:
    """Return the rows of the clean table."""
    return lake.read_clean(PIPELINE, "2013-01-01", "2013-12-31", ["flight_id"]).num_rows


Stage = Callable[[], object]

if __name__ == "__main__":
    publication_made, _ = ingest([sys.argv[1]], f"bare-{sys.argv[1]}")
    monitor(publication_made)
