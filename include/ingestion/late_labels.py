"""This file finds published days whose labels have come, or have changed, since they were published."""

import logging
from collections.abc import Iterable
from datetime import date, timedelta
from pathlib import Path

from include.errors import BadDeliveryError, DeliveryMissingError, SourceUnavailableError
from include.ingestion.delivery import Landed, Urls, check_landed, land_kind, landed_days
from include.ledger import Partition, nights, open_ledger
from include.pipeline import Pipeline
from include.settings import load_connections
from include.sources import Arrival

log = logging.getLogger(__name__)


def days_without_labels(partitions: Iterable[Partition], night: str, arrival: Arrival) -> list[Partition]:
    """Return the published days before a night that still lack labels, oldest first, as far back as the YAML waits."""
    first = date.fromisoformat(night) - timedelta(days=arrival.delay_days + arrival.wait_days)
    lacking = [
        row
        for row in partitions
        if row.status == "published" and row.labelled < row.rows and first.isoformat() <= row.day < night
    ]
    return sorted(lacking, key=lambda row: row.day)


def late_labels(pipeline: Pipeline, night: str, urls: Urls | None = None) -> dict[str, Landed]:
    """Land the labels that have come since their day was published, and return such days with all their landed files.

    Only other labels than those of the publication count, so a day whose labels stay partial is not taken in nightly.
    Its events are those of the publication: they need not lie in the landing zone any more. Only if they were removed
    here since, they are landed again. What is wrong with labels of a past day is said in the log and does not keep the
    night itself from being ingested.
    """
    arrival = pipeline.source.labels
    if arrival is None or not arrival.delay_days:
        return {}
    urls = load_connections(pipeline.source.connections) if urls is None else urls
    with open_ledger() as session:
        candidates = days_without_labels(nights.partitions_of(session, pipeline.name), night, arrival)
    found = {}
    for partition in candidates:
        try:
            if landed := _landed_since(pipeline, partition, urls):
                found[partition.day] = landed
        except (BadDeliveryError, DeliveryMissingError, SourceUnavailableError) as error:
            log.error("The labels of %s stay out: %s", partition.day, error)  # noqa: TRY400  the message says it all
    log.info(
        "%s of %s days back to %s that lack labels have got some since: %s",
        len(found), len(candidates), candidates[0].day if candidates else night, sorted(found),
    )  # fmt: skip
    return found


def _landed_since(pipeline: Pipeline, partition: Partition, urls: Urls) -> Landed | None:
    labels = land_kind(pipeline, partition.day, "labels", urls)
    before = landed_days(pipeline, partition.run_key).get(partition.day, {})
    if not labels or labels == before.get("labels"):
        return None
    events = before.get("events", [])
    if not events or not all(Path(file).exists() for file in events):
        events = land_kind(pipeline, partition.day, "events", urls)
    if not events:
        raise DeliveryMissingError(
            f"they are here, but not the events they belong to: neither where the day was landed (run "
            f"'{partition.run_key}') nor at the source. Deliver the day's events again; the next night takes both in."
        )
    for file in events:
        check_landed(pipeline, Path(file), "events")
    return {"events": events, "labels": labels}
