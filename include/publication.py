"""This file publishes a run's good partitions and writes down what became of each of them."""

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from include import lake, quarantine
from include.ledger import Publication, nights, open_ledger
from include.pipeline import Pipeline

log = logging.getLogger(__name__)


def publish(pipeline: Pipeline, staged_uri: str, verdict: Mapping[str, Any], run_key: str) -> str | None:
    """Publish what passed, record what was refused, and return the publication's id; None if nothing passed.

    A publication that is entered already stays as it is: days that were delivered again since are not taken back.
    """
    staged = json.loads(Path(staged_uri).read_text())
    passed: list[str] = verdict["passed"]
    publication_id = f"{pipeline.name}.{Path(staged['folder']).name}"
    with open_ledger() as session:
        if session.get(Publication, publication_id):
            log.info("%s was published before", publication_id)
            return publication_id
    snapshot_id, rows = lake.publish(pipeline, staged_uri, passed) if passed else ("", 0)
    with open_ledger() as session:
        published = set(nights.published_days(session, pipeline.name))
        # Another run may have published the same days a moment later: they are its own to write down.
        standing = lake.days_from(pipeline.name, staged["folder"], passed)
        for day, facts in staged["days"].items():
            if day in passed and day not in standing:
                log.warning("%s was published by another run meanwhile: its delivery stands", day)
                continue
            if day in verdict["refused"] and day in published:
                log.warning("%s stays as published before: its new delivery was refused", day)
                continue
            nights.record_partition(
                session,
                pipeline.name,
                day,
                status="published" if day in passed else "refused",
                rows=facts["rows"],
                labelled=facts["labelled"],
                quarantined=facts["quarantined"],
                repaired=quarantine.num_repaired(pipeline, day, run_key),
                run_key=run_key,
                report=verdict["reports"].get(day, ""),
                note=verdict["refused"].get(day, ""),
            )
        if passed:
            nights.announce(
                session,
                Publication(id=publication_id, pipeline=pipeline.name, days=passed, rows=rows, snapshot_id=snapshot_id),
            )
    log.info("Published %s of %s partitions, %s rows, snapshot %s", len(passed), len(staged["days"]), rows, snapshot_id)
    return publication_id if passed else None


def announce_again(pipeline: Pipeline, days: list[str], run_key: str) -> str:
    """Enter a publication of days that are published already, so that monitoring looks at them again; return its id."""
    publication_id = f"{pipeline.name}.{run_key}"
    snapshot_id = lake.current_snapshot(pipeline.name) or ""
    with open_ledger() as session:
        known = [day for day in days if day in set(nights.published_days(session, pipeline.name))]
        if not known:
            raise ValueError(
                f"None of the days {days[0]} to {days[-1]} is published in '{pipeline.name}': ingest them first."
            )
        nights.announce(
            session,
            Publication(id=publication_id, pipeline=pipeline.name, days=known, rows=0, snapshot_id=snapshot_id),
        )
    return publication_id
