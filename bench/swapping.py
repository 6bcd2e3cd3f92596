"""This file measures what a shadow costs the answers it is given copies of, and how long a way back takes."""

import os
import statistics
import time
from collections.abc import Callable
from dataclasses import replace

import httpx

from include import promotion, rollback
from include.demo.airflow_api import wait_until
from include.ledger import open_ledger, releases
from include.serving.state import Challenger, State, declare, read_state, state_path
from include.settings import load_settings
from soak.endpoint import Endpoint, approve


def shadow_p99_ratio(endpoint: Endpoint, p99_ms: Callable[[], float], runs: int) -> float:
    """Return the p99 of answers of which a challenger is given copies, over that without: the median of neighbours."""
    ratios = []
    for _ in range(runs):
        _declare_again(endpoint, has_shadow=False)
        alone = p99_ms()
        _declare_again(endpoint, has_shadow=True)
        ratios.append(p99_ms() / alone)
    return round(statistics.median(ratios), 3)


def rollback_seconds(endpoint: Endpoint, runs: int) -> float:
    """Return the seconds from a rollback's call until every process answers as the version before: the median."""
    os.environ["EVERGREEN_ENDPOINT_URL"] = endpoint.url
    promotion._point_alias = lambda _: None  # made-up releases are in no registry
    pipeline, taken = endpoint.pipeline, []
    state_path(load_settings(), pipeline.name).unlink()  # the ledger's generations begin anew
    promotion.promote(approve(pipeline, None))
    for _ in range(runs):
        with open_ledger() as session:
            champion = releases.champion_of(session, pipeline.name)
        promotion.promote(approve(pipeline, champion.version if champion else None))
        began = time.perf_counter()
        rollback.roll_back(pipeline.name, "to be measured", rollback.version_before(pipeline.name))
        taken.append(time.perf_counter() - began)
    return round(statistics.median(taken), 2)


def _declare_again(endpoint: Endpoint, *, has_shadow: bool) -> None:
    name, settings = endpoint.pipeline.name, load_settings()
    state: State | None = read_state(settings, name)
    if state is None:
        raise RuntimeError(f"Nothing is declared for {name}.")
    copied = Challenger(state.version + 1, state.model_uri, state.sha256, 0.0) if has_shadow else None
    generation = state.generation + 1
    declare(settings, replace(state, generation=generation, challenger=copied))

    def served() -> set[int]:
        workers = httpx.get(f"{endpoint.url}/ping", trust_env=False).json()["workers"]
        return {worker["pipelines"].get(name, {}).get("generation") for worker in workers}

    wait_until(lambda: served() == {generation}, 30, lambda: f"the endpoint serves {served()}")
