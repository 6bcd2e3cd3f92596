"""Whoever comes at the same time: one wins, nothing is doubled, and nobody is told what is no longer true."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from include.errors import StaleReleaseError
from include.ledger import Decision, Partition, Publication, Release, nights, open_ledger, releases, requests

AT_ONCE = 8
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
def at_once(ledger_url):
    """Do something in eight threads at the same moment, each in a transaction of its own; return what each got."""
    with open_ledger(ledger_url):
        pass
    start = Barrier(AT_ONCE)

    def race(do):
        def run(number):
            start.wait()
            try:
                with open_ledger(ledger_url) as session:
                    return do(session, number)
            except StaleReleaseError as error:
                return error

        with ThreadPoolExecutor(AT_ONCE) as pool:
            return list(pool.map(run, range(AT_ONCE)))

    return race


@pytest.fixture
def approved(ledger_url):
    """Eight approved releases, none of them compared with a champion."""
    with open_ledger(ledger_url) as session:
        known = [
            releases.add_release(session, "flights", f"r{number}", compared_with=None, **FIELDS)
            for number in range(AT_ONCE)
        ]
        return [releases.judge(session, release.id, approved=True, note="").id for release in known]


def file(session, key):
    return requests.file_request(session, "flights", reason="", triggered_by="hand", key=key, detail={}).id


def test_a_request_is_claimed_by_one_of_eight_runs(at_once, ledger_url):
    with open_ledger(ledger_url) as session:
        request_id = file(session, "one")

    got = at_once(lambda session, number: requests.claim_request(session, request_id, f"run-{number}"))

    assert sum(request is not None for request in got) == 1


def test_a_request_filed_by_eight_is_one_row(at_once, ledger_url):
    assert set(at_once(lambda session, _number: file(session, "one"))) == {"flights.hand.one"}
    with open_ledger(ledger_url) as session:
        assert len(requests.open_requests(session, "flights", older_than_seconds=0)) == 1


def test_eight_releases_get_eight_versions_without_a_gap(at_once):
    def add(session, number):
        return releases.add_release(session, "flights", f"r{number}", compared_with=None, **FIELDS).version

    assert sorted(at_once(add)) == list(range(1, AT_ONCE + 1))


def test_a_request_that_leads_to_a_release_eight_times_leads_to_one(at_once):
    def add(session, _number):
        return releases.add_release(session, "flights", "r1", compared_with=None, **FIELDS).id

    assert set(at_once(add)) == {"flights.v1"}


def test_eight_promotions_have_eight_fences_and_the_last_to_begin_is_champion(at_once, approved, ledger_url):
    fences = at_once(lambda session, number: releases.begin_promotion(session, approved[number]))
    assert sorted(fences) == list(range(1, AT_ONCE + 1))

    ended = at_once(lambda session, number: releases.finish_promotion(session, approved[number], fences[number]))

    assert [isinstance(each, Release) for each in ended].count(True) == 1
    with open_ledger(ledger_url) as session:
        (champion,) = releases.releases_of(session, "flights", "champion")
    assert champion.fence == AT_ONCE


def test_of_eight_deploys_compared_with_the_same_champion_one_gets_through(at_once, approved, ledger_url):
    def deploy(session, number):
        return releases.finish_promotion(
            session, approved[number], releases.begin_promotion(session, approved[number])
        ).version

    ended = at_once(deploy)

    assert Counter(type(each) for each in ended) == {int: 1, StaleReleaseError: AT_ONCE - 1}
    with open_ledger(ledger_url) as session:
        assert [row.version for row in releases.releases_of(session, "flights", "champion")] == [
            each for each in ended if isinstance(each, int)
        ]


def test_a_publication_is_decided_on_once(at_once):
    def decide(session, number):
        decision = Decision(
            publication_id="p", pipeline="flights", action="nothing", reason=f"said {number}", evidence={}
        )
        return nights.record_decision(session, decision).reason

    assert len(set(at_once(decide))) == 1


def test_a_publication_is_announced_once(at_once, ledger_url):
    def announce(session, _number):
        nights.announce(session, Publication(id="p", pipeline="flights", days=["d"], rows=1, snapshot_id="1"))

    at_once(announce)

    with open_ledger(ledger_url) as session:
        assert len(nights.waiting_publications(session, "flights", older_than_seconds=0)) == 1


def test_eight_deliveries_of_a_day_are_one_partition_delivered_again_seven_times(at_once, ledger_url):
    facts = {"status": "published", "rows": 1, "quarantined": 0, "report": ""}
    at_once(lambda session, number: nights.record_partition(session, "flights", "d", run_key=str(number), **facts))

    with open_ledger(ledger_url) as session:
        assert session.get(Partition, ("flights", "d")).redeliveries == AT_ONCE - 1


def test_a_champion_renewed_by_eight_has_a_new_fence_each_time(at_once, approved, ledger_url):
    with open_ledger(ledger_url) as session:
        releases.finish_promotion(session, approved[0], releases.begin_promotion(session, approved[0]))

    fences = at_once(lambda session, _number: releases.renew_fence(session, approved[0]))

    assert sorted(fences) == list(range(2, AT_ONCE + 2))
