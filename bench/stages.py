"""This file measures each stage of ingestion for a night, a winter and a year."""

import json
from pathlib import Path
from typing import Any

from bench.night import ingest
from include.config import load_settings
from include.demo.flights import Deliveries
from include.ledger import Publication, open_ledger
from include.partition import days_between
from include.stack import Stack

RANGES = {1: ("2013-01-01", "2013-01-01"), 59: ("2013-01-01", "2013-02-28"), 365: ("2013-01-01", "2013-12-31")}
ALL_YEAR = "2013-12-31"


def measure(stack: Stack) -> dict[str, Any]:
    """Return seconds and rows per second by stage and number of days; Spark Connect is warm, Python is too."""
    from datetime import date

    Deliveries(load_settings().data).seed(delivered_until=ALL_YEAR)
    ingest(["2013-12-31"], "warm-up")
    found: dict[str, Any] = {}
    for number, (first, last) in RANGES.items():
        days = days_between(date.fromisoformat(first), date.fromisoformat(last))
        publication_id, seconds = ingest(days, f"stages-{number}")
        with open_ledger() as session:
            publication = session.get_one(Publication, publication_id)
        for stage, spent in seconds.items():
            found.setdefault(stage, {})[str(number)] = {
                "seconds": round(spent, 2),
                "rows_per_s": round(publication.rows / spent),
            }
    return found
