import pytest

from include import retraining
from include.errors import AlreadyOnItsWayError
from include.ledger import Request, open_ledger, requests

FORM = {"reason": "the carriers changed", "epochs": 3}


@pytest.fixture
def filed(settings):
    with open_ledger() as session:
        return requests.file_request(session, "rides", reason="it fell", triggered_by="quality", key="p1", detail={}).id


def read(request_id: str) -> Request:
    with open_ledger() as session:
        return session.get_one(Request, request_id)


def test_a_run_that_was_woken_claims_the_request_that_woke_it(rides, filed):
    assert retraining.claim(rides, filed, "run-1", {}) == filed
    assert (read(filed).status, read(filed).claimed_by) == ("claimed", "run-1")


def test_a_request_of_another_run_is_not_claimed_and_a_cleared_task_keeps_its_own(rides, filed):
    retraining.claim(rides, filed, "run-1", {})

    assert retraining.claim(rides, filed, "run-2", {}) is None
    assert retraining.claim(rides, filed, "run-1", {}) == filed


def test_a_request_nobody_filed_is_not_claimed(rides):
    assert retraining.claim(rides, "rides.quality.never", "run-1", {}) is None


def test_a_run_by_hand_files_its_request_once_with_what_the_form_says(rides):
    first = retraining.claim(rides, None, "manual-1", FORM)
    again = retraining.claim(rides, None, "manual-1", FORM)

    assert first == again == "rides.hand.manual-1"
    request = read(first)
    assert (request.reason, request.triggered_by) == (FORM["reason"], "hand")
    assert request.detail == {"epochs": 3}


def test_a_request_given_up_is_closed_so_that_another_may_be_filed(rides, filed):
    retraining.claim(rides, filed, "run-1", {})

    retraining.give_up(filed)

    assert read(filed).status == "failed"
    with open_ledger() as session:
        assert requests.unfinished_requests(session, "rides") == []


def test_a_run_by_hand_says_who_started_it(rides):
    request_id = retraining.claim(rides, None, "manual-1", {**FORM, "by": "ada", "force": False})

    assert read(request_id).detail == {"epochs": 3, "by": "ada"}


def test_by_hand_nothing_is_trained_beside_a_request_on_its_way_unless_forced(rides, filed):
    retraining.claim(rides, filed, "run-1", {})

    with pytest.raises(
        AlreadyOnItsWayError, match=r"rides\.quality\.p1 .*\(claimed by run-1\): it fell\. Wait .*'force'"
    ):
        retraining.claim(rides, None, "manual-1", FORM)

    forced = retraining.claim(rides, None, "manual-1", {**FORM, "force": True})
    assert forced == retraining.claim(rides, None, "manual-1", FORM), "a cleared task keeps what it has filed"
