"""This file measures each stage of ingestion for a night, a winter and a year."""

from datetime import date
from typing import Any

from bench.night import deliveries_of_their_own, ingest
from include.ledger import Publication, open_ledger
from include.partition import days_between
from include.stack import Stack

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
                measured = {"seconds": round(spent, 2), "rows_per_s": round(rows / spent)}
                found.setdefault(stage, {})[str(number)] = measured
    return found
