import getpass

import pytest

from include import pausing, retraining, sweeping
from include.ledger import Request, open_ledger, pauses, requests


@pytest.fixture(autouse=True)
def _ann(settings, monkeypatch):
    monkeypatch.setattr(getpass, "getuser", lambda: "ann")


@pytest.fixture
def filed(settings):
    def enter(triggered_by="quality"):
        with open_ledger() as session:
            return requests.file_request(
                session, "rides", reason="it fell", triggered_by=triggered_by, key="k", detail={}
            ).id

    return enter


def held(pipeline="rides"):
    with open_ledger() as session:
        found = pauses.pause_of(session, pipeline)
        return found and (found.by, found.reason)


def status_of(request_id):
    with open_ledger() as session:
        return session.get_one(Request, request_id).status


def late(stage="train"):
    return sweeping.late_rows(stage, ["rides"], 0)


def test_a_pause_says_who_when_and_why_and_a_second_one_changes_nothing():
    first = pausing.pause("rides", "quarter's end")
    again = pausing.pause("rides", "another reason")

    assert "by ann: quarter's end" in first
    assert "`evergreen resume rides`" in first
    assert again == first
    assert held() == ("ann", "quarter's end")


def test_a_pause_holds_for_its_pipeline_alone_and_one_of_everything_for_all():
    pausing.pause("rides", "a")
    assert held("other") is None

    pausing.pause(pausing.EVERYTHING, "b")
    assert held("other") == ("ann", "b")


def test_each_pause_is_ended_by_its_own_word_and_what_is_left_is_named():
    pausing.pause("rides", "a")
    pausing.pause(pausing.EVERYTHING, "b")

    assert "Still paused: rides" in pausing.resume(pausing.EVERYTHING)
    assert held() == ("ann", "a")
    assert "acts by itself again" in pausing.resume("rides")
    assert held() is None
    assert "was not paused" in pausing.resume("rides")


def test_a_pipeline_resumed_while_everything_is_paused_is_said_to_be_paused_still():
    pausing.pause(pausing.EVERYTHING, "b")

    assert "Still paused: all pipelines" in pausing.resume("rides")


def test_pauses_of_the_past_are_kept():
    for reason in ("a", "b"):
        pausing.pause("rides", reason)
        pausing.resume("rides")

    with open_ledger() as session:
        assert [(each.reason, each.ended_by) for each in pauses.pauses_of(session, "rides")] == [
            ("b", "ann"),
            ("a", "ann"),
        ]


def test_an_automatic_request_waits_for_the_end_of_the_pause(rides, filed):
    request_id = filed()
    pausing.pause("rides", "a")

    assert late() == {}
    assert retraining.claim(rides, request_id, "run-1", {}) is None
    assert status_of(request_id) == "open"

    pausing.resume("rides")
    assert late() == {"rides": [request_id]}
    assert retraining.claim(rides, request_id, "run-1", {}) == request_id


def test_what_a_person_asks_for_is_claimed_and_trained_in_a_pause(rides):
    pausing.pause(pausing.EVERYTHING, "a")

    request_id = retraining.claim(rides, None, "manual-1", {"reason": "I want it"})

    assert request_id == "rides.hand.manual-1"
    assert retraining.hold_back(request_id) is None
    assert status_of(request_id) == "claimed"


def test_a_request_a_person_asked_for_is_woken_in_a_pause(filed):
    request_id = filed("hand")
    pausing.pause("rides", "a")

    assert late() == {"rides": [request_id]}


def test_a_claimed_request_is_opened_again_when_a_pause_comes_before_its_training(rides, filed):
    request_id = filed()
    retraining.claim(rides, request_id, "run-1", {})
    assert retraining.hold_back(request_id) is None

    pausing.pause("rides", "stop")

    assert "by ann: stop. rides.quality.k is open again" in retraining.hold_back(request_id)
    assert status_of(request_id) == "open"
    pausing.resume("rides")
    assert retraining.claim(rides, request_id, "run-2", {}) == request_id


def test_a_run_that_gave_up_and_is_cleared_in_a_pause_does_not_train(rides, filed):
    request_id = filed()
    retraining.claim(rides, request_id, "run-1", {})
    retraining.give_up(request_id)
    pausing.pause("rides", "stop")

    assert retraining.claim(rides, request_id, "run-1", {}) is None
    assert status_of(request_id) == "failed"
