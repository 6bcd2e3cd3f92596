"""This file compares the endpoint, with all it does, with servers that only predict.

Same model, same requests of one row, one worker on one core, the load from wrk on another; all in turn in one run.
"""

import json
import statistics
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from rich.console import Console

from bench import swapping
from bench.contenders import Contenders
from bench.load import Answered, ask, on_its_core
from include.demo.airflow_api import wait_until
from include.errors import StackError
from include.pipeline import Pipeline
from include.serving.keys import add_key
from include.settings import working_in
from soak.endpoint import Endpoint, made_up, serving

RUNS, SECONDS = 5, 5.0  # of each, in turn, after a short one
SHADOW_RUNS = 15  # as a few per cent of a p99 are looked for
BODIES = 30


def measure() -> dict[str, Any]:
    """Return what docs/benchmarks.md explains."""
    with tempfile.TemporaryDirectory(prefix="evergreen-serving-") as temporary, working_in(Path(temporary)) as settings:
        folder = Path(temporary)
        # A key with a rate that it is checked against, as it would be in earnest.
        key = add_key(settings, "bench", rate="1000000/second", pipelines=[], now=datetime.now(UTC))
        with on_its_core(serving(folder)) as endpoint:
            bodies = _write_requests(endpoint.pipeline, folder / "bodies.jsonl")
            others = Contenders(next(folder.glob("models/*/*/model.onnx")).parent, folder, bodies)
            against = Against(f"{endpoint.url}/invocations/{endpoint.pipeline.name}", bodies, key)
            bare = against.measure("bare", others.bare)
            captured = _wait_for_capture(endpoint)
            bare["shadow_p99_ratio"] = swapping.shadow_p99_ratio(endpoint, against.p99_alone, SHADOW_RUNS)
            bare["rollback_seconds"] = swapping.rollback_seconds(endpoint, RUNS)
            for name, start in {"litserve": others.litserve, "bentoml": others.bentoml}.items():
                against.try_to_measure(name, start)
    return bare | against.ratios | {"requests_per_s": against.per_second, "p99_ms": against.p99_ms} | captured


@dataclass
class Against:
    """The endpoint against one server after another."""

    url: str
    bodies: Path
    key: str
    ratios: dict[str, float | None] = field(default_factory=dict)
    per_second: dict[str, list[int]] = field(default_factory=dict)
    p99_ms: dict[str, list[float]] = field(default_factory=dict)

    def measure(self, name: str, server: Callable[[], AbstractContextManager[str]]) -> dict[str, float]:
        """Return throughput and p99 of the endpoint over those of a server: medians of the runs in turn."""
        with on_its_core(server()) as url:
            ask(self.url, self.bodies, 1, self.key), ask(url, self.bodies, 1)
            runs = [
                (ask(self.url, self.bodies, SECONDS, self.key), ask(url, self.bodies, SECONDS)) for _ in range(RUNS)
            ]
        ours, theirs = zip(*runs, strict=True)
        self._note(f"beside_{name}", ours)
        self._note(name, theirs)
        ratios = (ours_run.per_second / other.per_second for ours_run, other in runs)
        slower = (ours_run.p99_ms / other.p99_ms for ours_run, other in runs)
        return {f"over_{name}": _median(ratios), f"p99_over_{name}": _median(slower)}

    def try_to_measure(self, name: str, server: Callable[[], AbstractContextManager[str]]) -> None:
        """Keep how many times a server's requests the endpoint answers; None, and why, if it cannot be had."""
        try:
            self.ratios[name] = self.measure(name, server)[f"over_{name}"]
        except (RuntimeError, StackError, subprocess.SubprocessError) as error:
            self.ratios[name] = None
            Console().print(f"{name} was not measured: {error}")

    def p99_alone(self) -> float:
        """Return the endpoint's own p99 in one run."""
        return self._ask().p99_ms

    def _ask(self) -> Answered:
        return ask(self.url, self.bodies, SECONDS, self.key)

    def _note(self, name: str, runs: tuple[Answered, ...]) -> None:
        self.per_second[name] = [round(run.per_second) for run in runs]
        self.p99_ms[name] = [round(run.p99_ms, 1) for run in runs]


def _median(ratios: Iterator[float]) -> float:
    return round(statistics.median(ratios), 3)


def _write_requests(pipeline: Pipeline, path: Path) -> Path:
    columns = made_up(pipeline.training.features, np.random.default_rng(1))
    lines = []
    for number in range(BODIES):
        row = {pipeline.key: f"20130722T10-UA{1500 + number}", pipeline.date: "2013-07-22"}
        row |= {name: _plain(values[number]) for name, values in columns.items()}
        lines.append(json.dumps({"instances": [row]}))
    path.write_text("\n".join(lines))
    return path


def _plain(value: Any) -> Any:
    return round(float(value), 2) if isinstance(value, np.floating) else value


def _wait_for_capture(endpoint: Endpoint) -> dict[str, int]:
    """Return how many requests were answered and how many rows captured, once they are as many."""

    def counted(name: str) -> int:
        lines = httpx.get(f"{endpoint.url}/metrics", trust_env=False).text.splitlines()
        return sum(int(float(line.split()[-1])) for line in lines if line.startswith(name))

    def both() -> dict[str, int]:
        answered = counted("evergreen_request_seconds_count{")
        return {"answered": answered, "captured_rows": counted("evergreen_captured_rows_total")}

    wait_until(lambda: len({*both().values()}) == 1, 60, lambda: f"not all answers are captured: {both()}")
    return both()
