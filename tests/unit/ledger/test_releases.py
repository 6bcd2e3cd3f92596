"""Releases: one champion, each step by compare-and-set, overtaken promotions are worth nothing."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy.exc import IntegrityError

from include.errors import StaleReleaseError
from include.ledger import Release, open_ledger
from include.ledger.releases import (
    add_release,
    begin_promotion,
    champion_of,
    finish_promotion,
    get_release,
    give_up_promotion,
    judge,
    releases_of,
    waiting_releases,
)

FIELDS = {
    "model_uri": "/m",
    "sha256": "0",
    "tracking_run": "",
    "judged_until": "2013-02-28",
    "quality": 0.6,
    "metrics": {},
    "gate": {},
}


@pytest.fixture
def session(ledger_url):
    with open_ledger(ledger_url) as session:
        yield session


def approved(session, request_id: str, compared_with: int | None = None) -> Release:
    release = add_release(session, "flights", request_id, compared_with=compared_with, **FIELDS)
    return judge(session, release.id, approved=True, note="better")


def champion(session, request_id: str, compared_with: int | None = None) -> Release:
    release = approved(session, request_id, compared_with)
    return finish_promotion(session, release.id, begin_promotion(session, release.id))


def test_a_request_leads_to_one_release(session):
    first = add_release(session, "flights", "r1", compared_with=None, **FIELDS)
    again = add_release(session, "flights", "r1", compared_with=None, **FIELDS)

    assert (first.id, again.id) == ("flights.v1", "flights.v1")


def test_a_rejected_release_is_never_promoted(session):
    release = add_release(session, "flights", "r1", compared_with=None, **FIELDS)
    judge(session, release.id, approved=False, note="worse")

    with pytest.raises(StaleReleaseError, match="rejected, not approved"):
        begin_promotion(session, release.id)


def test_the_next_champion_retires_the_one_before(session):
    champion(session, "r1")
    second = champion(session, "r2", compared_with=1)

    assert champion_of(session, "flights").id == second.id
    assert get_release(session, "flights.v1").status == "retired"


def test_a_release_compared_with_a_former_champion_is_refused(session):
    champion(session, "r1")
    late = approved(session, "r2", compared_with=1)
    champion(session, "r3", compared_with=1)

    with pytest.raises(StaleReleaseError, match="compared with version 1, but the champion is now 3"):
        begin_promotion(session, late.id)


def test_an_overtaken_promotion_cannot_finish(session):
    release = approved(session, "r1")
    old = begin_promotion(session, release.id)
    new = begin_promotion(session, release.id)

    with pytest.raises(StaleReleaseError, match="overtaken"):
        finish_promotion(session, release.id, old)
    assert finish_promotion(session, release.id, new).status == "champion"


def test_a_promotion_given_up_leaves_the_champion(session):
    champion(session, "r1")
    second = approved(session, "r2", compared_with=1)
    begin_promotion(session, second.id)
    give_up_promotion(session, second.id, note="did not load")

    assert champion_of(session, "flights").version == 1
    assert get_release(session, second.id).status == "failed"


def test_the_database_refuses_a_second_champion(session):
    champion(session, "r1")
    session.add(Release(id="flights.v9", pipeline="flights", version=9, request_id="r9", status="champion", **FIELDS))

    with pytest.raises(IntegrityError):
        session.flush()
    session.rollback()


def test_an_approved_release_nobody_deploys_is_found_late(session):
    approved(session, "r1")

    assert [row.id for row in waiting_releases(session, "flights", older_than_seconds=0)] == ["flights.v1"]
    assert waiting_releases(session, "flights", older_than_seconds=60) == []


def test_an_unknown_release_is_named(session):
    with pytest.raises(StaleReleaseError, match=r"no release 'flights\.v7'"):
        get_release(session, "flights.v7")


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["begin", "finish", "give_up"]), st.integers(0, 2), st.integers(0, 6))))
def test_whatever_is_interleaved_there_is_at_most_one_champion_and_fences_only_grow(steps):
    with open_ledger("sqlite://") as session:
        known = [approved(session, f"{id(steps)}-{number}") for number in range(3)]
        fences: list[int] = []
        for verb, which, fence in steps:
            try:
                if verb == "begin":
                    fences.append(begin_promotion(session, known[which].id))
                elif verb == "finish":
                    finish_promotion(session, known[which].id, fence)
                else:
                    give_up_promotion(session, known[which].id, note="")
            except StaleReleaseError:
                pass
            assert len(releases_of(session, "flights", "champion")) <= 1
        assert fences == sorted(set(fences))
        session.rollback()
