"""This file shows in the endpoint's `/metrics` what the ledger says of each pipeline: champion, newest measured day."""

import logging
import threading
import time
from collections.abc import Iterator

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from sqlalchemy.exc import SQLAlchemyError

from include.errors import SchemaError
from include.ledger import nights, open_ledger, releases

log = logging.getLogger(__name__)

SECONDS_BETWEEN_LOOKS = 10.0
PIPELINE = ("pipeline",)
GAUGES = {
    "champion_version": ("Version that the ledger says is the champion.", PIPELINE),
    "drifted_share": ("Share of what the model relies on that had drifted on the newest measured day.", PIPELINE),
    "estimated_quality": ("Quality on the newest measured day, estimated without labels.", (*PIPELINE, "metric")),
    "quality": ("Quality on the newest measured day whose labels are there.", (*PIPELINE, "metric")),
    "measured_rows": ("Answers of the newest measured day.", PIPELINE),
}

Sample = tuple[str, tuple[str, ...], float]  # gauge, its labels' values, value


class LedgerGauges(Collector):
    """Gauges read from the ledger at most every ten seconds; the last ones known while it cannot be read."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._samples: list[Sample] = []
        self._looked_at: float | None = None
        self._is_readable = True
        self._looking = threading.Lock()

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Yield what is known; one caller looks, others need not wait for it."""
        if self._looking.acquire(blocking=False):
            try:
                self._look()
            finally:
                self._looking.release()
        readable = GaugeMetricFamily("evergreen_ledger_readable", "1 if the ledger could be read the last time.")
        readable.add_metric([], float(self._is_readable))
        yield readable
        for name, (about, labels) in GAUGES.items():
            gauge = GaugeMetricFamily(f"evergreen_{name}", about, labels=labels)
            for _, values, value in (sample for sample in self._samples if sample[0] == name):
                gauge.add_metric(values, value)
            yield gauge

    def _look(self) -> None:
        if self._looked_at is not None and time.monotonic() - self._looked_at < SECONDS_BETWEEN_LOOKS:
            return
        try:
            self._samples = list(_samples(self._url))
        except (SQLAlchemyError, SchemaError, OSError) as error:
            if self._is_readable:
                log.warning("The ledger cannot be read, its gauges stay as they were: %s", error)
            self._is_readable = False
        else:
            self._is_readable = True
        self._looked_at = time.monotonic()


def _samples(url: str) -> Iterator[Sample]:
    with open_ledger(url) as session:
        for champion in releases.champions(session):
            pipeline = champion.pipeline
            yield "champion_version", (pipeline,), champion.version
            if newest := nights.newest_window(session, pipeline):
                yield "measured_rows", (pipeline,), newest.rows
                if newest.drifted_share is not None:
                    yield "drifted_share", (pipeline,), newest.drifted_share
                yield from _numbers("estimated_quality", pipeline, newest.measures.get("estimate", {}))
            if judged := nights.newest_window(session, pipeline, is_judged=True):
                yield from _numbers("quality", pipeline, judged.measures.get("quality", {}))


def _numbers(gauge: str, pipeline: str, found: dict[str, object]) -> Iterator[Sample]:
    for metric, value in found.items():
        if isinstance(value, float):
            yield gauge, (pipeline, metric), value
