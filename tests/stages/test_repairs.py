"""The ladder on real files: a moved level is recalibrated, a former champion comes back, outcomes are written down."""

from datetime import date, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from include import artefact, gatekeeping, verification
from include.errors import StaleReleaseError
from include.ledger import Request, nights, open_ledger, releases, requests
from include.policy import Gate
from include.recipe import Features, Training
from include.repairs import estimating, outcomes, remaking
from include.training import plan as planning
from include.training.run import train
from include.training.spec import read_spec
from include.training.store import Stopwatch

DAYS = [(date(2020, 1, 1) + timedelta(days=number)).isoformat() for number in range(60)]
MOVED = 30  # the first day on which far more are late
PER_DAY = 120


def rides_that_move() -> pa.Table:
    random = np.random.default_rng(0)
    size = len(DAYS) * PER_DAY
    place = np.arange(size) // PER_DAY
    distance = random.normal(0, 1, size)
    late = random.random(size) < 1 / (1 + np.exp(-1.5 * distance - np.where(place >= MOVED, 1.5, -0.5)))
    days = pa.array([DAYS[each] for each in place])
    return pa.table({"ride_id": [f"r{n:05}" for n in range(size)], "day": days, "late": late, "distance": distance})


@pytest.fixture
def keeping(rides, monkeypatch):
    """The pipeline `rides`, over a table whose level moves, before a gate that judges by the loss."""
    monkeypatch.setattr("include.registry.log_training", lambda *_: "run-1")
    monkeypatch.setattr("include.lake.tag_snapshot", lambda *_: None)
    monkeypatch.setattr("include.lake.current_snapshot", lambda *_: "77")

    def read_clean(_name, first, last, columns, *_snapshot):
        table = rides_that_move()
        within = pc.and_(pc.greater_equal(table["day"], first), pc.less_equal(table["day"], last))
        return table.filter(within).select(columns)

    def clean_days(name, first, last, columns, *snapshot):
        table = read_clean(name, first, last, [*columns, "day"] if "day" not in columns else columns)
        for day in sorted(set(table["day"].to_pylist())):
            yield day, table.filter(pc.equal(table["day"], day)).sort_by(columns[0]).select(columns)

    monkeypatch.setattr("include.lake.read_clean", read_clean)
    monkeypatch.setattr("include.lake.clean_days", clean_days)
    training = Training(
        target="late", features=Features(numeric=["distance"]), window_days=16, holdout_days=7, min_rows=50, epochs=2,
        hidden=[8], learning_rate=0.02, refit=False,
    )  # fmt: skip
    changed = {"training": training, "gate": Gate(metric="log_loss", margin=0.02)}
    return rides.model_copy(update=changed)


def publish(first: int, last: int) -> None:
    with open_ledger() as session:
        for day in DAYS[first:last]:
            nights.record_partition(
                session, "rides", day, status="published", rows=PER_DAY, labelled=PER_DAY, quarantined=0, run_key="run",
                report="",
            )  # fmt: skip


def make(pipeline, make_model, newest: int, repair="retrain", **detail):
    """File a request, let its model be made and judged, and promote it if it passed; return its release."""
    with open_ledger() as session:
        request = requests.file_request(
            session, "rides", reason="a test", triggered_by="quality", key=f"{repair}-{newest}", repair=repair,
            detail={"newest_day": DAYS[newest], **detail},
        )  # fmt: skip
    make_model(read_spec(planning.plan(pipeline, request.id)), Stopwatch())
    release_id = gatekeeping.evaluate(pipeline, request.id)
    with open_ledger() as session:
        release = releases.get_release(session, release_id)
        if release.status == "approved":
            releases.finish_promotion(session, release_id, releases.begin_promotion(session, release_id))
    return release


def test_a_moved_level_is_recalibrated_and_what_that_gained_is_written_down(keeping):
    publish(0, MOVED)
    first = make(keeping, train, MOVED - 1)
    publish(MOVED, MOVED + 7)

    promised = {each.action: each for each in estimating.estimates(keeping)}
    second = make(keeping, remaking.recalibrate, MOVED + 6, "recalibrate", repairs=[promised["recalibrate"].as_dict()])

    assert promised["recalibrate"].pays
    assert (second.status, second.version, second.compared_with) == ("champion", 2, 1)
    assert second.note.startswith("Passed: log_loss")
    manifest = artefact.read_manifest(second.model_uri)
    assert manifest["network"] == first.sha256 != second.sha256
    assert manifest["correction"]["intercept"] > 0.5
    assert manifest["train_days"] == artefact.read_manifest(first.model_uri)["train_days"]
    assert second.metrics["trained_until"] == DAYS[MOVED - 1]
    verification.verify(second.id)  # it answers as was recorded

    publish(MOVED + 7, MOVED + 20)
    outcomes.note_outcomes(keeping)
    assert outcome_of(second) is None  # 13 days are not yet 14

    publish(MOVED + 20, MOVED + 21)
    outcomes.note_outcomes(keeping)
    found = outcome_of(second)
    assert found["low"] > 0
    assert found["gain"] > found["promised"] > 0.05  # half of the days that it was estimated on lay before the move
    assert found["days"] == [DAYS[MOVED + 7], DAYS[MOVED + 20]]

    third = make(keeping, remaking.reinstate, MOVED + 20, "reinstate", version=1)
    assert third.version == 3
    assert artefact.read_manifest(third.model_uri)["network"] == first.sha256


def test_a_former_champion_that_never_was_is_named(keeping):
    with open_ledger() as session:
        request = requests.file_request(
            session, "rides", reason="a test", triggered_by="quality", key="soon", repair="reinstate",
            detail={"version": 9},
        )  # fmt: skip

    with pytest.raises(StaleReleaseError, match="no release 'rides.v9'"):
        planning.plan(keeping, request.id)


def test_without_a_champion_nothing_is_promised(keeping):
    assert estimating.estimates(keeping) == []


def outcome_of(release):
    with open_ledger() as session:
        return session.get_one(Request, release.request_id).outcome
