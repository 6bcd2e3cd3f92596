"""Requests: filed once, claimed by one run, closed once."""

from concurrent.futures import ThreadPoolExecutor

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from include.ledger import open_ledger
from include.ledger.requests import (
    abandon_claims,
    claim_request,
    close_request,
    file_request,
    open_requests,
    unfinished_requests,
)


def file(session, key="2013-07-10"):
    return file_request(session, "flights", reason="it fell", triggered_by="quality", key=key, detail={})


def test_a_request_filed_twice_is_one_request(ledger_url):
    with open_ledger(ledger_url) as session:
        first, second = file(session), file(session)

    assert first is second
    assert first.id == "flights.quality.2013-07-10"


def test_a_request_is_claimed_by_one_run_and_stays_its(ledger_url):
    with open_ledger(ledger_url) as session:
        request = file(session)
        assert claim_request(session, request.id, "run-1")
        assert claim_request(session, request.id, "run-2") is None
        assert claim_request(session, request.id, "run-1"), "a cleared task claims again what is its own"
        assert open_requests(session, "flights", older_than_seconds=0) == []
        assert [row.id for row in unfinished_requests(session, "flights")] == [request.id]


def test_an_unknown_request_cannot_be_claimed(ledger_url):
    with open_ledger(ledger_url) as session:
        assert claim_request(session, "flights.quality.never", "run-1") is None


def test_a_closed_request_is_not_claimed_by_another(ledger_url):
    with open_ledger(ledger_url) as session:
        request = file(session)
        claim_request(session, request.id, "run-1")
        close_request(session, request.id, status="done", note="version 2")
        assert claim_request(session, request.id, "run-2") is None
        assert unfinished_requests(session, "flights") == []


def test_a_run_that_gave_up_and_was_cleared_claims_its_request_again(ledger_url):
    with open_ledger(ledger_url) as session:
        request = file(session)
        claim_request(session, request.id, "run-1")
        close_request(session, request.id, status="failed", note="crashed")
        assert claim_request(session, request.id, "run-2") is None
        assert claim_request(session, request.id, "run-1").closed_at is None


def test_a_claim_nobody_finishes_is_given_up_after_hours(ledger_url):
    with open_ledger(ledger_url) as session:
        request = file(session)
        claim_request(session, request.id, "run-1")
        abandon_claims(session, "flights", older_than_hours=1)
        assert [row.id for row in unfinished_requests(session, "flights")] == [request.id]
        abandon_claims(session, "flights", older_than_hours=0)
        assert unfinished_requests(session, "flights") == []


def test_eight_runs_at_once_claim_it_once(ledger_url):
    with open_ledger(ledger_url) as session:
        request_id = file(session).id

    def claim(number: int) -> bool:
        with open_ledger(ledger_url) as session:
            return claim_request(session, request_id, f"run-{number}") is not None

    with ThreadPoolExecutor(8) as pool:
        claims = list(pool.map(claim, range(8)))

    assert sum(claims) == 1


def test_a_request_that_was_just_filed_is_not_yet_late(ledger_url):
    with open_ledger(ledger_url) as session:
        file(session)
        assert open_requests(session, "flights", older_than_seconds=60) == []
        assert len(open_requests(session, "flights", older_than_seconds=0)) == 1


steps = st.lists(
    st.tuples(
        st.sampled_from(["file", "claim", "close"]), st.sampled_from(["a", "b"]), st.sampled_from(["r1", "r2", "r3"])
    )
)


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=steps)
def test_whatever_is_repeated_or_reordered_no_request_has_two_owners(steps):
    owners: dict[str, set[str]] = {}
    with open_ledger("sqlite://") as session:
        for verb, key, run in steps:
            request_id = f"flights.quality.{key}"
            if verb == "file":
                file(session, key)
            elif verb == "claim" and claim_request(session, request_id, run):
                owners.setdefault(request_id, set()).add(run)
            elif verb == "close":
                close_request(session, request_id, status="done", note="")
        session.rollback()

    assert all(len(runs) == 1 for runs in owners.values())
