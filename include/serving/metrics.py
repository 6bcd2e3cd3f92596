"""This file declares what the endpoint counts, in a registry of its own."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)


class Metrics:
    """The endpoint's counters."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "evergreen_requests", "Requests by outcome.", ["pipeline", "outcome"], registry=self.registry
        )
        self.latency = Histogram(
            "evergreen_request_seconds",
            "Seconds from the body's last byte to the answer.",
            ["pipeline", "version"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.captured = Counter(
            "evergreen_captured_rows", "Rows written to the lake.", ["pipeline"], registry=self.registry
        )
        self.dropped = Counter(
            "evergreen_capture_dropped_rows",
            "Rows not kept, by reason.",
            ["pipeline", "reason"],
            registry=self.registry,
        )
        self.refusals = Counter(
            "evergreen_refusals", "Refused requests, by reason.", ["pipeline", "reason"], registry=self.registry
        )
        self.unchecked = Counter(
            "evergreen_rates_unchecked", "Requests let through as rates could not be counted.", registry=self.registry
        )
        self.version = Gauge("evergreen_loaded_version", "Version in service.", ["pipeline"], registry=self.registry)
        self.generation = Gauge(
            "evergreen_loaded_generation", "Generation of the state in service.", ["pipeline"], registry=self.registry
        )
        self.state_errors = Counter(
            "evergreen_state_errors", "Declared states that could not be loaded.", ["pipeline"], registry=self.registry
        )
