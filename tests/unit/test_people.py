"""Where the YAML wants a person's word: who is asked what, and what an answer, a refusal or silence does."""

from datetime import UTC, datetime

import pytest

from include import people, promotion, retraining, sweeping
from include.config import load_pipeline
from include.ledger import Request, open_ledger, releases, requests
from include.people import Answer

AT = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)


@pytest.fixture
def asking(settings):
    """The pipeline, as one that wants a person's word twice."""
    path = settings.pipelines / "rides.yaml"
    path.write_text(f"{path.read_text()}\npeople: {{review: [drift], approval: human, timeout_hours: 2}}\n")
    return load_pipeline("rides")


def ask_for(triggered_by: str = "drift", **fields) -> str:
    with open_ledger() as session:
        request = requests.file_request(
            session, "rides", reason="temp has drifted", triggered_by=triggered_by, key="d1", detail={}
        )
        for name, value in fields.items():
            setattr(request, name, value)
        requests.claim_request(session, request.id, "run-1")
        return request.id


def judged(*, approved: bool = True) -> str:
    fields = {"model_uri": "m", "sha256": "s", "tracking_run": "", "judged_until": "2020-01-01", "quality": 0.7}
    gate = {"metric": "auc", "challenger": 0.7123, "champion": 0.69, "gain": 0.0223, "interval": [0.01, 0.03]}
    with open_ledger() as session:
        release = releases.add_release(
            session, "rides", ask_for_in(session), metrics={}, gate={**gate, "days": 14, "rows": 9000}, **fields
        )
        return releases.judge(session, release.id, approved=approved, note="0.0223 better").id


def ask_for_in(session) -> str:
    return requests.file_request(
        session, "rides", reason="temp has drifted", triggered_by="drift", key="d1", detail={}
    ).id


def read(request_id: str) -> Request:
    with open_ledger() as session:
        return session.get_one(Request, request_id)


def status_of(release_id: str) -> str:
    with open_ledger() as session:
        return releases.get_release(session, release_id).status


def test_nobody_is_asked_unless_the_yaml_says_so(rides):
    assert not people.asks(rides, "review")
    assert not people.asks(rides, "approval")
    assert people.question(rides, "review", ask_for()) is None


def test_a_review_says_why_what_it_costs_and_what_silence_means(asking):
    question = people.question(asking, "review", ask_for(), "http://af")

    assert question.subject == "Train a new model of rides?"
    for said in ("temp has drifted", "What it costs", "http://af/evergreen/why/rides", "2 hours means: Do not train"):
        assert said in question.body


def test_the_cost_is_what_the_last_trainings_took_without_the_wait_for_people(asking):
    with open_ledger() as session:
        for number, seconds in enumerate((10, 30, 20)):
            request = requests.file_request(
                session, "rides", reason="r", triggered_by="first", key=str(number), detail={}
            )
            request.status, request.claimed_at = "done", AT
            request.closed_at = AT.replace(second=seconds)

    assert "about 20 s on this machine (median of the last 3" in people.question(asking, "review", ask_for()).body


@pytest.mark.parametrize("fields", [{"triggered_by": "hand"}, {"triggered_by": "quality"}, {"repair": "recalibrate"}])
def test_what_is_asked_by_hand_or_is_cheap_is_not_reviewed(asking, fields):
    assert people.question(asking, "review", ask_for(**fields)) is None


def test_who_answered_and_when_is_kept_and_is_not_asked_again(asking):
    request_id = ask_for()
    people.note_asked("review", request_id, "run-1")
    assert people.question(asking, "review", request_id).asked_in == "run-1"

    people.record("review", request_id, Answer("Train", "ada", AT, "go"))

    said = read(request_id).detail["review"]
    assert (said["answer"], said["by"], said["at"], said["note"]) == ("Train", "ada", AT.isoformat(), "go")
    assert people.question(asking, "review", request_id) is None
    assert people.refusal(request_id) is None


def test_a_refused_request_is_closed_with_who_and_why_and_a_cleared_run_asks_again(asking):
    request_id = ask_for()
    people.note_asked("review", request_id, "run-1")
    people.record("review", request_id, Answer("Do not train", "ada", AT, "sensor was broken"))

    assert "ada said 'Do not train' (2026-01-02 03:04 UTC): sensor was broken" in people.refusal(request_id)
    assert read(request_id).status == "failed"

    assert retraining.claim(asking, request_id, "run-1", {}) == request_id
    assert people.question(asking, "review", request_id).asked_in == ""


def test_silence_means_what_the_yaml_says(asking):
    assert people.default_option(asking, "review") == "Do not train"
    patient = asking.model_copy(update={"people": asking.people.model_copy(update={"on_timeout": "go_on"})})
    assert people.default_option(patient, "approval") == "Release"
    assert "Nobody answered in time" in str(Answer("Do not train", None, AT))


def test_a_request_that_waits_for_a_person_is_not_given_up_by_sweep(asking, monkeypatch):
    monkeypatch.setattr(promotion, "reconcile", lambda name: None)
    request_id = ask_for()
    with open_ledger() as session:
        session.get_one(Request, request_id).claimed_at = datetime.now(UTC).replace(year=2020)

    sweeping.reconcile(["rides"], claim_hours=24 * 366 * 50)
    assert read(request_id).status == "claimed"
    sweeping.reconcile(["rides"], claim_hours=1)
    assert read(request_id).status == "failed"


def test_a_release_takes_no_traffic_by_itself_before_a_person_has_said_yes(asking):
    release_id = judged()

    assert "waits for a person's approval" in promotion.promote(release_id, by_itself=True)
    assert sweeping.late_rows("deploy", ["rides"], 0) == {}
    question = people.question(asking, "approval", release_id)
    for said in ("| challenger | 0.7123 |", "| gain | 0.0223 (+0.0100 to +0.0300) |", "Asked for by drift"):
        assert said in question.body

    people.record("approval", release_id, Answer("Release", "ada", AT))

    assert people.question(asking, "approval", release_id) is None
    assert sweeping.late_rows("deploy", ["rides"], 0) == {"rides": [release_id]}


def test_a_release_that_a_person_refuses_is_rejected(asking):
    release_id = judged()

    people.record("approval", release_id, Answer("Do not release", "ada", AT, "holidays"))

    assert status_of(release_id) == "rejected"
    with open_ledger() as session:
        assert releases.get_release(session, release_id).note.endswith("holidays")


def test_a_release_that_the_gate_has_refused_needs_nobody(asking):
    assert people.question(asking, "approval", judged(approved=False)) is None
