"""Whatever is done to the ledger, in whatever order and however often: these things stay true."""

from contextlib import suppress
from itertools import pairwise
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from sqlalchemy import select

from include.errors import StaleReleaseError
from include.ledger import Request, open_ledger, releases, requests

KEYS = st.sampled_from(["a", "b", "c"])
RUNS = st.sampled_from(["run-1", "run-2", "run-3"])
ANY = st.integers(0, 2)
FIELDS = {
    "model_uri": "/m",
    "sha256": "0",
    "tracking_run": "",
    "judged_until": "2013-02-28",
    "quality": 0.6,
    "metrics": {},
    "gate": {},
}
HAVE_SERVED = {"champion", "retired", "rolled_back"}


class OnePipeline(RuleBasedStateMachine):
    """A pipeline of its own in a shared database; each rule is a transaction."""

    def __init__(self, url):
        super().__init__()
        self.url = url
        self.pipeline = f"p{uuid4().hex}"


class Requests(OnePipeline):
    def __init__(self, url):
        super().__init__(url)
        self.owners = {}

    def id_of(self, key):
        return f"{self.pipeline}.quality.{key}"

    @rule(key=KEYS)
    def file(self, key):
        with open_ledger(self.url) as session:
            made = requests.file_request(session, self.pipeline, reason="", triggered_by="quality", key=key, detail={})
            assert made.id == self.id_of(key)

    @rule(key=KEYS, run=RUNS)
    def claim(self, key, run):
        with open_ledger(self.url) as session:
            if requests.claim_request(session, self.id_of(key), run):
                self.owners.setdefault(self.id_of(key), set()).add(run)

    @rule(key=KEYS, status=st.sampled_from(["done", "failed"]))
    def close(self, key, status):
        with open_ledger(self.url) as session:
            requests.close_request(session, self.id_of(key), status=status, note="")

    @rule()
    def abandon(self):
        with open_ledger(self.url) as session:
            requests.abandon_claims(session, self.pipeline, older_than_hours=0)

    @invariant()
    def a_request_has_one_owner_ever(self):
        assert all(len(runs) == 1 for runs in self.owners.values())
        with open_ledger(self.url) as session:
            for request in session.scalars(select(Request).where(Request.pipeline == self.pipeline)):
                assert {request.claimed_by} == self.owners.get(request.id, {None})
                assert (request.closed_at is None) == (request.status in {"open", "claimed"})


class Releases(OnePipeline):
    def __init__(self, url):
        super().__init__(url)
        self.known = []
        self.rejected = set()
        self.begun = []
        self.finished = []
        self.fence_of = {}

    def id_of(self, which):
        """One of the newest three: older ones can hardly be moved any more."""
        return f"{self.pipeline}.v{max(1, len(self.known) - which)}"

    def began(self, release_id, fence):
        self.begun.append(fence)
        self.fence_of[release_id] = fence

    @rule(key=st.integers(0, 9), compared_with=st.none() | st.integers(1, 5))
    def add(self, key, compared_with):
        with open_ledger(self.url) as session:
            releases.add_release(
                session, self.pipeline, f"{self.pipeline}.{key}", compared_with=compared_with, **FIELDS
            )

    @rule(key=st.integers(0, 9), how_far=st.sampled_from(["approved", "promoting", "champion"]))
    def train(self, key, how_far):
        request_id = f"{self.pipeline}.{key}"
        with suppress(StaleReleaseError), open_ledger(self.url) as session:
            champion = releases.champion_of(session, self.pipeline)
            compared_with = champion.version if champion else None
            made = releases.add_release(session, self.pipeline, request_id, compared_with=compared_with, **FIELDS)
            releases.judge(session, made.id, approved=True, note="")
            if how_far != "approved":
                self.began(made.id, releases.begin_promotion(session, made.id))
            if how_far == "champion":
                releases.finish_promotion(session, made.id, self.begun[-1])
                self.finished.append(self.begun[-1])

    @rule(which=ANY, approved=st.booleans())
    def judge(self, which, approved):
        with suppress(StaleReleaseError), open_ledger(self.url) as session:
            releases.judge(session, self.id_of(which), approved=approved, note="")

    @rule(which=ANY, is_rollback=st.booleans())
    def begin(self, which, is_rollback):
        again_from = ("retired", "rolled_back") if is_rollback else ()
        with suppress(StaleReleaseError), open_ledger(self.url) as session:
            self.began(self.id_of(which), releases.begin_promotion(session, self.id_of(which), again_from=again_from))

    @rule(which=ANY, is_stale=st.sampled_from([False, False, False, True]))
    def finish(self, which, is_stale):
        fence = self.fence_of.get(self.id_of(which), 0) - is_stale
        with suppress(StaleReleaseError), open_ledger(self.url) as session:
            releases.finish_promotion(session, self.id_of(which), fence)
            assert fence == self.begun[-1], "whoever was overtaken must not finish"
            self.finished.append(fence)

    @rule(which=ANY, becomes=st.sampled_from(["failed", "approved"]))
    def give_up(self, which, becomes):
        with open_ledger(self.url) as session:
            releases.give_up_promotion(session, self.id_of(which), note="", becomes=becomes)

    @invariant()
    def promises_hold(self):
        with open_ledger(self.url) as session:
            self.known = releases.releases_of(session, self.pipeline)[::-1]
        status = {release.version: release.status for release in self.known}
        assert list(status) == list(range(1, len(self.known) + 1)), "versions have no gap"
        assert len({release.request_id for release in self.known}) == len(self.known)
        assert all(earlier < later for earlier, later in pairwise(self.begun)), "fences only grow"
        # Whoever finishes replaces the champion; a champion goes in no other way.
        assert [each.fence for each in self.known if each.status == "champion"] == self.finished[-1:]
        assert all(each.serving_at for each in self.known if each.status in HAVE_SERVED)
        assert all(status[version] == "rejected" for version in self.rejected)
        self.rejected |= {version for version, what in status.items() if what == "rejected"}


@pytest.mark.parametrize("machine", [Requests, Releases])
def test_the_ledgers_promises_hold_in_any_order(machine, ledger_url):
    # A transaction on PostgreSQL has a connection of its own, which costs it milliseconds.
    examples = 50 if ledger_url.startswith("sqlite") else 5
    # What is found is not shrunk: that takes minutes, and thirty steps can be read.
    run_state_machine_as_test(
        lambda: machine(ledger_url),
        settings=settings(
            max_examples=examples,
            phases=[Phase.generate],
            stateful_step_count=30,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
