from contextlib import contextmanager

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fastapi.testclient import TestClient

from include import artefact, promotion, verification
from include.deployment import state_of
from include.errors import ArtefactError, RolloutError
from include.ledger import open_ledger, releases
from include.serving.app import create_app
from include.serving.state import declare


@pytest.fixture(autouse=True)
def _in_this_process(monkeypatch, settings, tmp_path):
    """Serve in this process; tests/stages/serving/test_rollout.py has a process of its own."""

    @contextmanager
    def endpoint_for(release):
        alone = settings.model_copy(update={"data": tmp_path / "alone"})
        declare(alone, state_of(release, 1))
        with TestClient(create_app(alone)) as client:
            if problem := client.get("/ping").json()["errors"].get(release.pipeline):
                raise ArtefactError(problem)
            yield client

    monkeypatch.setattr(verification, "endpoint_for", endpoint_for)


def rollout_of(release_id):
    with open_ledger() as session:
        return releases.get_release(session, release_id).rollout


def status_of(release_id):
    with open_ledger() as session:
        return releases.get_release(session, release_id).status


def test_a_sound_release_is_verified(approve):
    release_id = approve()

    verification.verify(release_id)

    seen = rollout_of(release_id)
    assert (seen["verified"]["rows"], seen["verified"]["refused"], seen["replay"]) == (500, 0, {})
    assert seen["verified"]["p95_ms"] > 0


def test_an_altered_model_is_refused(approve, settings):
    release_id = approve()
    path = settings.models / "rides" / "m1" / artefact.MODEL
    path.write_bytes(path.read_bytes() + b" ")

    with pytest.raises(ArtefactError, match="sha256"):
        verification.verify(release_id)

    assert status_of(release_id) == "failed"


@pytest.mark.parametrize("wrong", [0.5, float("nan")])
def test_a_model_that_does_not_reproduce_its_predictions_is_refused(approve, settings, wrong):
    release_id = approve()
    path = settings.models / "rides" / "m1" / artefact.HOLDOUT
    frame = pq.read_table(path).to_pandas()
    frame.loc[17, "prediction"] = wrong
    frame.to_parquet(path)

    with pytest.raises(ArtefactError, match="1 of 500 predictions differ.*row 17"):
        verification.verify(release_id)


def test_a_release_without_recorded_predictions_is_refused(approve, settings):
    release_id = approve()
    (settings.models / "rides" / "m1" / artefact.HOLDOUT).unlink()

    with pytest.raises(ArtefactError, match="no recorded predictions"):
        verification.verify(release_id)


def test_a_release_beyond_the_latency_budget_is_refused(approve, monkeypatch):
    release_id = approve()
    monkeypatch.setattr(verification, "_milliseconds", lambda *_: 251.0)

    with pytest.raises(RolloutError, match="251 ms for one in 20 single requests, at most 250"):
        verification.verify(release_id)

    assert status_of(release_id) == "failed"


@pytest.fixture
def champion(approve, monkeypatch):
    """A champion that has answered 300 requests with 0.5."""
    monkeypatch.setattr(promotion, "wait_until_acknowledged", lambda *_: ("", False))
    monkeypatch.setattr(promotion, "_point_alias", lambda _: None)
    release_id = approve()
    promotion.promote(release_id)
    return release_id


def capture(settings, rows, version=1, **columns):
    folder = settings.lake / "rides" / "predictions" / "day=2020-01-02"
    folder.mkdir(parents=True, exist_ok=True)
    known = {"answer_version": [version] * rows, "distance": [1.0, None] * (rows // 2), "carrier": ["AA"] * rows}
    pq.write_table(pa.table(known | {"prediction": [0.4, 0.55] * (rows // 2)} | columns), folder / f"{version}.parquet")


def test_what_the_champion_was_asked_is_replayed_and_compared(approve, settings, champion):
    capture(settings, 300)
    capture(settings, 300, version=7)
    second = approve(compared_with=1, slope=4.0)

    verification.verify(second)

    replay = rollout_of(second)["replay"]
    assert (replay["rows"], replay["refused"]) == (300, 0)
    # 1 / (1 + exp(-4)) = 0.982 and 0.5 in place of 0.4 and 0.55, whose standard deviation is 0.075.
    assert replay["shift"] == pytest.approx((0.982 - 0.55 + 0.5 - 0.4) / 2 / 0.075, abs=0.01)
    assert replay["differ"] == 0.5


def test_nothing_is_replayed_where_nothing_was_asked(approve, champion):
    second = approve(compared_with=1)

    verification.verify(second)

    assert rollout_of(second)["replay"] == {"rows": 0}
