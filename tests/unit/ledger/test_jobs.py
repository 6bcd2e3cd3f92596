"""One row for each attempt, and never two that may be running, whatever is done in whatever order."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from sqlalchemy.exc import IntegrityError

from include.errors import BudgetError
from include.jobs import Wanted
from include.ledger import Attempt, jobs, open_ledger
from include.ledger.tables import now

WANTED = Wanted("rides", "rides.first.one", "aws", "cuda", price_per_hour=3.6, max_seconds=3600, is_spot_welcome=True)


def test_many_that_ask_at_once_are_given_the_same_attempt(settings):
    def ask(_: int) -> str:
        with open_ledger() as session:
            return jobs.next_attempt(session, WANTED).name

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(ask, range(16)))) == 1


def test_the_database_itself_refuses_a_second_open_attempt(settings):
    with open_ledger() as session:
        first = jobs.next_attempt(session, WANTED)
        copied = {column.key: getattr(first, column.key) for column in Attempt.__table__.columns}
    with pytest.raises(IntegrityError), open_ledger() as session:
        session.add(Attempt(**{**copied, "name": "another", "attempt": 2}))


def test_after_two_interruptions_it_runs_on_demand_and_a_kill_is_none(settings):
    spot = []
    for told in (True, False, False, False):
        with open_ledger() as session:
            attempt = jobs.next_attempt(session, WANTED)
            spot.append(attempt.is_spot)
            if told:
                jobs.end_lease(session, attempt.name, "the task was killed")
            jobs.end(session, attempt.name, "interrupted", reason="SIGTERM", seconds=10)
    with open_ledger() as session:
        ends = [row.status for row in jobs.attempts_of(session, WANTED.request_id)]

    assert spot == [True, True, True, False]
    assert ends == ["stopped", "interrupted", "interrupted", "interrupted"]


def test_money_is_promised_before_and_known_after(settings):
    budgeted = Wanted("rides", "b", "aws", "cuda", price_per_hour=3.6, max_seconds=3600, budget_per_month=5)
    with open_ledger() as session:
        attempt = jobs.next_attempt(session, WANTED)
        assert (attempt.estimate, attempt.cost) == (3.6, None)
        assert attempt.lease_until - now() <= timedelta(hours=1)
    with pytest.raises(BudgetError, match=r"3\.60 are spent or promised"), open_ledger() as session:
        jobs.next_attempt(session, budgeted)
    with open_ledger() as session:
        jobs.end(session, attempt.name, "succeeded", reason="", seconds=600)
        assert jobs.spent(session, "rides") == pytest.approx(0.6)
        assert jobs.next_attempt(session, budgeted).estimate == pytest.approx(0.6)  # as long as the one before
        assert jobs.spent(session, "others") == 0


def test_what_ended_unseen_costs_what_was_estimated_and_what_never_was_nothing(settings):
    for status, cost in (("failed", 3.6), ("gone", 0)):
        with open_ledger() as session:
            attempt = jobs.next_attempt(session, WANTED)
            jobs.end(session, attempt.name, status, reason="", seconds=None)
            assert attempt.cost == cost
