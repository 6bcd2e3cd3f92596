"""Whatever is done to the ledger, in whatever order and however often: these things stay true."""

from contextlib import suppress
from itertools import pairwise
from uuid import uuid4

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from sqlalchemy import select

from include.errors import StaleReleaseError
from include.ledger import Request, open_ledger, releases, requests

KEYS = st.sampled_from(["a", "b", "c", "d"])
RUNS = st.sampled_from(["run-1", "run-2", "run-3"])
ANY = st.integers(0, 5)
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


class Ledger(RuleBasedStateMachine):
    """One pipeline of its own in a shared database; each rule is a transaction."""

    def __init__(self, url):
        super().__init__()
        self.url = url
        self.pipeline = f"p{uuid4().hex}"
        self.num_releases = 0
        self.owners = {}
        self.fences = []
        self.fence_of = {}
        self.finished = []
        self.rejected = set()

    def request_id(self, key):
        return f"{self.pipeline}.quality.{key}"

    def release_id(self, which):
        return f"{self.pipeline}.v{1 + which % max(1, self.num_releases)}"

    @rule(key=KEYS)
    def file(self, key):
        with open_ledger(self.url) as session:
            made = requests.file_request(session, self.pipeline, reason="", triggered_by="quality", key=key, detail={})
            assert made.id == self.request_id(key)

    @rule(key=KEYS, run=RUNS)
    def claim(self, key, run):
        with open_ledger(self.url) as session:
            if requests.claim_request(session, self.request_id(key), run):
                self.owners.setdefault(key, set()).add(run)

    @rule(key=KEYS, status=st.sampled_from(["done", "failed"]))
    def close(self, key, status):
        with open_ledger(self.url) as session:
            requests.close_request(session, self.request_id(key), status=status, note="")

    @rule()
    def abandon(self):
        with open_ledger(self.url) as session:
            requests.abandon_claims(session, self.pipeline, older_than_hours=0)

    @rule(key=KEYS, is_fair=st.booleans())
    def add(self, key, is_fair):
        with open_ledger(self.url) as session:
            self.enter(session, key, is_fair=is_fair)

    @rule(key=KEYS)
    def train(self, key):
        with open_ledger(self.url) as session:
            releases.judge(session, self.enter(session, key, is_fair=True).id, approved=True, note="")

    def enter(self, session, key, *, is_fair):
        champion = releases.champion_of(session, self.pipeline)
        compared_with = champion.version if champion and is_fair else None
        return releases.add_release(session, self.pipeline, self.request_id(key), compared_with=compared_with, **FIELDS)

    @rule(which=ANY, approved=st.sampled_from([True, True, False]))
    def judge(self, which, approved):
        with suppress(StaleReleaseError), open_ledger(self.url) as session:
            releases.judge(session, self.release_id(which), approved=approved, note="")

    @rule(which=ANY, is_rollback=st.booleans())
    def begin(self, which, is_rollback):
        again_from = ("retired", "rolled_back") if is_rollback else ()
        with suppress(StaleReleaseError), open_ledger(self.url) as session:
            fence = releases.begin_promotion(session, self.release_id(which), again_from=again_from)
            self.fences.append(fence)
            self.fence_of[self.release_id(which)] = fence

    @rule(which=ANY, is_stale=st.sampled_from([False, False, False, True]))
    def finish(self, which, is_stale):
        fence = self.fence_of.get(self.release_id(which), 0) - is_stale
        with suppress(StaleReleaseError), open_ledger(self.url) as session:
            releases.finish_promotion(session, self.release_id(which), fence)
            self.finished.append(fence)

    @rule(which=ANY)
    def give_up(self, which):
        with open_ledger(self.url) as session:
            releases.give_up_promotion(session, self.release_id(which), note="")

    @invariant()
    def promises_hold(self):
        with open_ledger(self.url) as session:
            filed = session.scalars(select(Request).where(Request.pipeline == self.pipeline)).all()
            known = releases.releases_of(session, self.pipeline)[::-1]
        self.num_releases = len(known)
        self.requests_have_one_owner(filed)
        self.versions_have_no_gap_and_requests_one_release(known)
        self.fences_only_grow()
        self.the_champion_is_the_last_that_finished(known)
        self.what_was_rejected_stays_so_and_only_what_finished_has_served(known)

    def requests_have_one_owner(self, filed):
        assert all(len(runs) == 1 for runs in self.owners.values())
        for request in filed:
            assert {request.claimed_by} == self.owners.get(request.id.rsplit(".", 1)[1], {None})
            assert (request.closed_at is None) == (request.status in {"open", "claimed"})

    def versions_have_no_gap_and_requests_one_release(self, known):
        assert [release.version for release in known] == list(range(1, len(known) + 1))
        assert len({release.request_id for release in known}) == len(known)

    def fences_only_grow(self):
        assert all(earlier < later for earlier, later in pairwise(self.fences))
        assert all(earlier < later for earlier, later in pairwise(self.finished))

    def the_champion_is_the_last_that_finished(self, known):
        # Whoever finishes replaces the champion; a champion goes in no other way.
        assert [release.fence for release in known if release.status == "champion"] == self.finished[-1:]

    def what_was_rejected_stays_so_and_only_what_finished_has_served(self, known):
        for release in known:
            if release.status in HAVE_SERVED:
                assert release.serving_at is not None
            if release.status in {"candidate", "rejected", "approved"}:
                assert release.serving_at is None
        now = {release.version: release.status for release in known}
        assert all(now[version] == "rejected" for version in self.rejected)
        self.rejected |= {version for version, status in now.items() if status == "rejected"}


def test_the_ledgers_promises_hold_in_any_order(ledger_url):
    # A transaction on PostgreSQL has a connection of its own, which costs it milliseconds.
    examples = 40 if ledger_url.startswith("sqlite") else 5
    # What is found is not shrunk: that takes minutes, and thirty steps can be read.
    run_state_machine_as_test(
        lambda: Ledger(ledger_url),
        settings=settings(
            max_examples=examples,
            phases=[Phase.generate],
            stateful_step_count=30,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
