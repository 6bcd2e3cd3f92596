"""This file measures whether a night costs more the longer the history is: it should not."""

import json
import statistics
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from bench.night import PIPELINE, ingest
from include import lake
from include.cleaning import job
from include.config import load_pipeline
from include.ingestion import files
from include.stack import Stack

FIRST = date(2013, 1, 1)
NIGHTS = 5


def measure(stack: Stack) -> dict[str, Any]:
    """Return the median seconds of a night after 30 and after 300 nightly commits, and their ratio."""
    lake.drop(PIPELINE)
    pipeline = load_pipeline(PIPELINE)
    days = [(FIRST + timedelta(days=number)).isoformat() for number in range(300 + 2 * NIGHTS)]
    staged = job.clean(pipeline, files.land(pipeline, days, "history"), "history")
    found: dict[str, Any] = {}
    committed = 0
    for history in (30, 300):
        while committed < history:
            lake.publish(pipeline, staged, [days[committed]])
            committed += 1
        nights = []
        for _ in range(NIGHTS):
            _, seconds = ingest([days[committed]], f"night-{committed}")
            nights.append(sum(seconds.values()))
            committed += 1
        found[f"night_{history}_seconds"] = round(statistics.median(nights), 2)
    found["night_300_over_30"] = round(found["night_300_seconds"] / found["night_30_seconds"], 2)
    return found
