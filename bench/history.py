"""This file measures whether a night costs more the longer the history is: it should not."""

import json
import statistics
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from bench.night import PIPELINE, deliveries_of_their_own, ingest
from include import lake
from include.cleaning import job
from include.config import load_pipeline
from include.ingestion.delivery import land
from include.stack import Stack

FIRST = date(2013, 1, 1)
NIGHTS = 5
KEPT_NIGHTS = 30


def measure(stack: Stack) -> dict[str, Any]:  # noqa: ARG001 - the services only have to run
    """Return the median seconds of a night after 30 and after 300 nightly commits, and their ratio.

    Snapshots older than 30 nights are expired, as they are in an installation that runs.
    """
    pipeline = load_pipeline(PIPELINE)
    days = [(FIRST + timedelta(days=number)).isoformat() for number in range(300 + 2 * NIGHTS)]
    found: dict[str, Any] = {}
    with deliveries_of_their_own("history"):
        staged = Path(job.clean(pipeline, land(pipeline, days, "history"), "history"))
        moments: list[datetime] = []
        for history in (30, 300):
            for day in days[len(moments) : history]:
                lake.publish(pipeline, _as_a_night(staged, day), [day])
                moments.append(datetime.now(UTC))
            # What `sweep` does every night: snapshots of the newest 30 nights are kept.
            lake.expire(PIPELINE, KEPT_NIGHTS, now=moments[-KEPT_NIGHTS] + timedelta(days=KEPT_NIGHTS))
            nights = []
            for day in days[len(moments) : len(moments) + NIGHTS]:
                nights.append(sum(ingest([day], f"night-{day}")[1].values()))
                moments.append(datetime.now(UTC))
            found[f"night_{history}_seconds"] = round(statistics.median(nights), 2)
    found["night_300_over_30"] = round(found["night_300_seconds"] / found["night_30_seconds"], 2)
    return found


def _as_a_night(staged: Path, day: str) -> str:
    """Return one day of a range's `staged.json` as if it had been staged alone: a commit of its own."""
    content = json.loads(staged.read_text())
    night = staged.with_name(f"{day}.json")
    night.write_text(
        json.dumps(content | {"folder": f"{content['folder']}/{day}", "days": {day: content["days"][day]}})
    )
    return str(night)
