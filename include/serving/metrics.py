"""This file declares what the endpoint counts, and shows it: the sum over all processes where there are several.

Several processes keep their numbers in memory-mapped files under PROMETHEUS_MULTIPROC_DIR, which the library wants to
be set before it is imported (include/serving/__main__.py does); without it there is this process alone.
"""

import os

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest, multiprocess
from prometheus_client.registry import Collector

FOLDER = "PROMETHEUS_MULTIPROC_DIR"
_SECONDS = (0.0005, 0.001, 0.0015, 0.002, 0.003, 0.004, 0.006, 0.01, 0.015, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)


class Metrics:
    """The endpoint's counters."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self.unanswered = self._counter(
            "evergreen_unanswered_requests", "Requests without a prediction, by outcome.", ["pipeline", "outcome"]
        )
        self.latency = Histogram(
            "evergreen_request_seconds",
            "Seconds from the body's last byte to the answer; its count is that of answered requests.",
            ["pipeline", "version"],
            buckets=_SECONDS,
            registry=self._registry,
        )
        self.failures = self._counter(
            "evergreen_version_failures", "Requests that this version could not answer.", ["pipeline", "version"]
        )
        self.captured = self._counter("evergreen_captured_rows", "Rows written to the lake.", ["pipeline"])
        self.dropped = self._counter("evergreen_capture_dropped_rows", "Rows not kept.", ["pipeline", "reason"])
        self.shadow_dropped = self._counter("evergreen_shadow_dropped_rows", "Copies not answered.", ["pipeline"])
        self.state_errors = self._counter(
            "evergreen_state_errors", "Declared states that could not be loaded.", ["pipeline"]
        )
        self.refusals = self._counter("evergreen_refusals", "Refused requests.", ["pipeline", "reason"])
        self.unchecked = self._counter("evergreen_rates_unchecked", "Requests whose rate could not be counted.", [])
        self.version = self._gauge("evergreen_loaded_version", "Version in service.", ["pipeline"])
        self.generation = self._gauge("evergreen_loaded_generation", "Generation of the state there.", ["pipeline"])
        self.capture_failing = self._gauge("evergreen_capture_failing", "1 while captures cannot be written.", [])

    def page(self, *further: Collector) -> bytes:
        """Return everything in Prometheus' format, with what further collectors know."""
        if FOLDER in os.environ:
            registry = CollectorRegistry()
            multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        else:
            registry = self._registry
        return generate_latest(registry) + b"".join(generate_latest(_only(each)) for each in further)

    def forget(self, pid: int) -> None:
        """Take what a dead process has in service out of the gauges; what it has counted stays."""
        if FOLDER in os.environ:
            multiprocess.mark_process_dead(pid)  # type: ignore[no-untyped-call]

    def _counter(self, name: str, about: str, labels: list[str]) -> Counter:
        return Counter(name, about, labels, registry=self._registry)

    def _gauge(self, name: str, about: str, labels: list[str]) -> Gauge:
        return Gauge(name, about, labels, registry=self._registry, multiprocess_mode="livemax")


def _only(collector: Collector) -> CollectorRegistry:
    registry = CollectorRegistry()
    registry.register(collector)
    return registry
