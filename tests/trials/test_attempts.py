"""Attempts of a job, asked for and ended in whatever order: never two that may be running."""

from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import create_engine
from sqlalchemy.orm import Session

from include.jobs import Wanted
from include.ledger import jobs
from include.ledger.tables import Base

WANTED = Wanted("rides", "rides.first.one", "aws", "cuda", price_per_hour=3.6, max_seconds=3600, is_spot_welcome=True)
ENDS = ["succeeded", "interrupted", "failed", "refused", "gone"]


@given(st.lists(st.sampled_from(["ask", *ENDS]), max_size=12))
def test_there_are_never_two_open_attempts_and_no_number_twice(steps):
    engine = create_engine("sqlite://")
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        for step in steps:
            before = jobs.newest_attempt(session, WANTED.request_id)
            is_open = before is not None and before.status == "open"
            if step == "ask":
                found = jobs.next_attempt(session, WANTED)
                assert (found is before) == is_open
            elif is_open:
                jobs.end(session, before.name, step, reason="", seconds=1.0)
            rows = jobs.attempts_of(session, WANTED.request_id)
            assert [row.attempt for row in rows] == list(range(1, len(rows) + 1))
            assert all(row.status != "open" for row in rows[:-1])
