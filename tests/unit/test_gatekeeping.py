import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sqlalchemy import select

from include import artefact, gatekeeping
from include.errors import ArtefactError
from include.jobs import Wanted
from include.ledger import Release, Request, jobs, open_ledger, releases, requests
from include.pipeline import Pipeline
from include.policy import Costs, Gate, Governor, Repairs
from include.recipe import Features

FEATURES = Features(numeric=["distance"], categorical=["carrier"])


@pytest.fixture
def tags(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    tagged: list[tuple[str, ...]] = []
    monkeypatch.setattr("include.lake.tag_snapshot", lambda *what: tagged.append(what))
    return tagged


@pytest.fixture
def challenge(make_model: Callable[..., tuple[str, str]], tags: Any) -> Callable[..., str]:
    """File a request and put a model in its folder: the larger the slope's sign and size, the better it is."""

    def make(key: str, slope: float, **about: Any) -> str:
        with open_ledger() as session:
            request_id = requests.file_request(
                session, "rides", reason="a test", triggered_by="hand", key=key, detail={}
            ).id
        folder, sha256 = make_model(
            request_id,
            slope,
            pipeline="rides",
            request_id=request_id,
            snapshot_id="77",
            train_days=["2020-01-01", "2020-01-20"],
            holdout_days=["2020-01-21", "2020-01-30"],
            train_rows=900,
            holdout_rows=1000,
            metrics={"auc": 0.7, "log_loss": 0.6, "brier": 0.2},
            tracking_run="run-1",
            repair="retrain",
            seconds={"steps": 2.0},
            **about,
        )
        rows = holdout()
        answers = artefact.predict(artefact.load_session(folder, sha256), rows.to_pydict(), FEATURES)
        pq.write_table(rows.append_column("prediction", [answers]), Path(folder) / artefact.HOLDOUT)
        return request_id

    return make


def holdout() -> pa.Table:
    random = np.random.default_rng(0)
    distance = random.normal(0, 1, 1000)
    return pa.table(
        {
            "ride_id": [f"r{number}" for number in range(1000)],
            "day": [f"2020-01-{21 + number // 100}" for number in range(1000)],
            "label": (distance + random.normal(0, 1, 1000) > 0).astype(np.float32),
            "distance": pa.array(distance, mask=distance > 2.5),
            "carrier": ["AA"] * 1000,
        }
    )


def promote(release_id: str) -> None:
    with open_ledger() as session:
        releases.finish_promotion(session, release_id, releases.begin_promotion(session, release_id))


def test_a_first_model_that_beats_the_base_rate_is_approved(
    rides: Pipeline, challenge: Callable[..., str], tags: list[tuple[str, ...]]
) -> None:
    request_id = challenge("one", 1.0)

    release_id = gatekeeping.evaluate(rides, request_id)

    with open_ledger() as session:
        release, request = session.get_one(Release, release_id), session.get_one(Request, request_id)
    assert (release.id, release.status, release.compared_with) == ("rides.v1", "approved", None)
    assert (release.judged_until, release.tracking_run) == ("2020-01-30", "run-1")
    assert release.quality == release.metrics["auc"] == release.gate["challenger"]
    assert release.gate["passed"]
    assert release.gate["days"] == 10
    assert release.note.startswith("Passed: auc 0.")
    assert (request.status, request.closed_at is not None) == ("done", True)
    assert request.note.startswith("rides.v1: Passed")
    assert tags == [("rides", "77", "v1")]


def test_judging_twice_is_judging_once(rides: Pipeline, challenge: Callable[..., str]) -> None:
    request_id = challenge("one", 1.0)

    assert gatekeeping.evaluate(rides, request_id) == gatekeeping.evaluate(rides, request_id)

    with open_ledger() as session:
        assert len(session.scalars(select(Release)).all()) == 1


def test_the_challenger_meets_the_champion_on_the_same_rows(rides: Pipeline, challenge: Callable[..., str]) -> None:
    promote(gatekeeping.evaluate(rides, challenge("one", 1.0)))

    release_id = gatekeeping.evaluate(rides, challenge("two", -1.0))

    with open_ledger() as session:
        release = session.get_one(Release, release_id)
    assert (release.version, release.status, release.compared_with) == (2, "rejected", 1)
    assert release.gate["champion"] > 0.7 > 0.3 > release.gate["challenger"]
    assert "of the champion on 1000 rows of 10 days" in release.note


def test_slices_and_costs_of_the_yaml_are_judged(rides: Pipeline, challenge: Callable[..., str]) -> None:
    costs = Costs(false_positive=1.0, false_negative=5.0)
    policy = Gate(metric="cost", margin=0.05, costs=costs, slices=["carrier", "ride_id"])
    as_they_are = Governor(repairs=Repairs(recalibrate=None))  # corrected, the upside-down one would be no worse
    pipeline = rides.model_copy(update={"gate": policy, "governor": as_they_are})
    promote(gatekeeping.evaluate(pipeline, challenge("one", 1.0)))

    release_id = gatekeeping.evaluate(pipeline, challenge("two", -1.0))

    release = releases_of(release_id)
    assert release.status == "rejected"
    assert release.metrics["cost"] == release.quality > release.gate["champion"] > 0
    assert [(part["column"], part["value"]) for part in release.gate["worse_slices"]] == [("carrier", "AA")]
    assert "Clearly worse: carrier=AA (cost " in release.note


def test_a_champion_of_another_task_is_no_rival(rides: Pipeline, challenge: Callable[..., str]) -> None:
    first = gatekeeping.evaluate(rides, challenge("one", 1.0))
    promote(first)
    manifest = Path(releases_of(first).model_uri) / artefact.MANIFEST
    about = json.loads(manifest.read_text()) | {"task": {"name": "regression", "mean": 0.0, "spread": 1.0}}
    manifest.write_text(json.dumps(about))

    release = releases_of(gatekeeping.evaluate(rides, challenge("two", 1.0)))

    assert (release.status, release.compared_with, release.gate["champion"]) == ("approved", 1, None)


def test_an_altered_model_is_not_judged(rides: Pipeline, challenge: Callable[..., str]) -> None:
    request_id = challenge("one", 1.0)
    model = gatekeeping.model_folder("rides", request_id) / artefact.MODEL
    model.write_bytes(model.read_bytes()[:-1])

    with pytest.raises(ArtefactError, match="altered after training"):
        gatekeeping.evaluate(rides, request_id)


def test_a_model_that_does_not_repeat_its_predictions_is_not_judged(
    rides: Pipeline, challenge: Callable[..., str]
) -> None:
    request_id = challenge("one", 1.0)
    path = gatekeeping.model_folder("rides", request_id) / artefact.HOLDOUT
    rows = pq.read_table(path)
    other = np.asarray(rows["prediction"]) + np.float32(0.001)
    pq.write_table(rows.drop_columns(["prediction"]).append_column("prediction", [other]), path)

    with pytest.raises(ArtefactError, match="differs from its recorded predictions by up to 1"):
        gatekeeping.evaluate(rides, request_id)


def test_a_request_without_a_model_says_so(rides: Pipeline) -> None:
    with pytest.raises(ArtefactError, match="no readable manifest"):
        gatekeeping.evaluate(rides, "rides.hand.none")


def releases_of(release_id: str) -> Release:
    with open_ledger() as session:
        return releases.get_release(session, release_id)


def test_what_a_training_cost_is_kept_with_its_release(rides: Pipeline, challenge: Callable[..., str]) -> None:
    profile = {"name": "pair", "device": "cuda", "processes": 2, "threads": 1, "price_per_hour": 3.6}

    release_id = gatekeeping.evaluate(rides, challenge("one", 1.0, accelerator=profile))

    with open_ledger() as session:
        metrics = releases.get_release(session, release_id).metrics
    assert (metrics["seconds"], metrics["device_seconds"], metrics["training_cost"]) == (2.0, 4.0, 0.004)


def test_what_a_platform_asked_for_all_attempts_is_what_a_training_cost(
    rides: Pipeline, challenge: Callable[..., str]
) -> None:
    request_id = challenge("one", 1.0)
    wanted = Wanted("rides", request_id, "aws", "cuda", price_per_hour=3.6, max_seconds=3600)
    for status, seconds in (("interrupted", 1000.0), ("succeeded", 500.0)):
        with open_ledger() as session:
            jobs.end(session, jobs.next_attempt(session, wanted).name, status, reason="", seconds=seconds)

    release_id = gatekeeping.evaluate(rides, request_id)

    assert releases_of(release_id).metrics["training_cost"] == 1.5
