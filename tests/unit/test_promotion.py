import sys
from datetime import timedelta
from types import SimpleNamespace

import httpx
import pytest

from include import promotion, rollback, sweeping
from include.errors import EndpointError, StaleReleaseError
from include.ledger import open_ledger, pauses, releases
from include.ledger.tables import now
from include.serving.state import read_state, state_path

_point_alias = promotion._point_alias


class Endpoint:
    """Stands in for the endpoint: acknowledges what is declared, unless told otherwise."""

    def __init__(self, settings):
        self.settings = settings
        self.refused_versions = set()
        self.is_up = True
        self.seen = []
        self.on_ping = lambda: None

    def interrupt_with(self, do):
        """Do something in the middle of the next wait for an acknowledgement."""

        def once():
            self.on_ping = lambda: None
            do()

        self.on_ping = once

    def kill(self):
        """Kill whoever waits for the next acknowledgement."""

        def die():
            raise KeyboardInterrupt

        self.interrupt_with(die)

    def answer(self, request):
        if not self.is_up:
            raise httpx.ConnectError("refused")
        self.on_ping()
        state = read_state(self.settings, "rides")
        self.seen.append(state)
        if state.version in self.refused_versions:
            said = {"pipelines": {}, "errors": {"rides": "it does not load"}}
        else:
            said = {"pipelines": {"rides": {"version": state.version, "generation": state.generation}}, "errors": {}}
        return httpx.Response(200, json={"workers": [{"pid": 1, **said}]})


@pytest.fixture(autouse=True)
def endpoint(settings, monkeypatch):
    found = Endpoint(settings)
    usual, transport = httpx.Client, httpx.MockTransport(found.answer)
    monkeypatch.setattr(promotion.httpx, "Client", lambda **how: usual(**how, transport=transport))
    monkeypatch.setattr(promotion, "POLL_SECONDS", 0.001)
    return found


@pytest.fixture
def point_alias():
    """What really points the alias."""
    return _point_alias


@pytest.fixture(autouse=True)
def aliases(monkeypatch):
    pointed = []
    monkeypatch.setattr(promotion, "_point_alias", lambda release: pointed.append(release.version))
    return pointed


def status_of(release_id):
    with open_ledger() as session:
        return releases.get_release(session, release_id).status


def declared_version(settings):
    return read_state(settings, "rides").version


def test_the_newest_approved_release_is_found(approve):
    with pytest.raises(StaleReleaseError, match="no such thing as an approved release. Releases: none"):
        promotion.approved_release("rides")
    approve()
    newest = approve()
    with pytest.raises(StaleReleaseError, match="version 99. Releases: v2 approved, v1 approved"):
        promotion.approved_release("rides", 99)

    assert promotion.approved_release("rides") == newest
    assert promotion.approved_release("rides", 1) == "rides.v1"


def test_a_version_that_cannot_be_deployed_is_refused_with_the_way_to_serve_it(approve):
    for compared_with in (None, 1):
        promotion.promote(approve(compared_with))
    assert promotion.approved_release("rides", 2) == "rides.v2", "a champion is reconciled"
    rollback.roll_back("rides", "bad", 1)
    with open_ledger() as session:
        releases.refuse(session, approve(compared_with=1), note="no")

    with pytest.raises(StaleReleaseError, match=r"v2 is rolled_back.* `evergreen rollback rides --to 2 --reason WHY`"):
        promotion.approved_release("rides", 2)
    with pytest.raises(StaleReleaseError, match=r"v3 is rejected.* Only an approved release can be"):
        promotion.approved_release("rides", 3)


def test_a_promoted_release_is_champion_only_after_the_endpoint_serves_it(approve, settings, endpoint, aliases):
    first = approve()
    states_when_asked = []
    endpoint.on_ping = lambda: states_when_asked.append(status_of(first))

    promotion.promote(first)

    assert states_when_asked == ["promoting"]
    assert status_of(first) == "champion"
    assert declared_version(settings) == 1
    assert aliases == [1]


def test_the_champion_before_is_retired(approve):
    first = approve()
    promotion.promote(first)
    second = approve(compared_with=1)

    promotion.promote(second)

    assert (status_of(first), status_of(second)) == ("retired", "champion")


def test_promoting_a_champion_again_mends_its_state(approve, settings):
    first = approve()
    promotion.promote(first)
    state_path(settings, "rides").unlink()

    promotion.promote(first)

    assert declared_version(settings) == 1


def test_a_promotion_that_was_killed_begins_again_with_a_new_fence(approve, settings, endpoint):
    first = approve()

    endpoint.kill()
    with pytest.raises(KeyboardInterrupt):
        promotion.promote(first)
    assert status_of(first) == "promoting"

    promotion.promote(first)

    assert status_of(first) == "champion"
    assert read_state(settings, "rides").generation == 2


def test_a_release_the_endpoint_refuses_fails_and_the_champion_is_put_back(approve, settings, endpoint, aliases):
    first = approve()
    promotion.promote(first)
    second = approve(compared_with=1)
    endpoint.refused_versions = {2}

    with pytest.raises(EndpointError, match="it does not load"):
        promotion.promote(second, timeout_seconds=0.05)

    assert (status_of(first), status_of(second)) == ("champion", "failed")
    state = read_state(settings, "rides")
    assert (state.version, state.generation) == (1, 3)
    assert aliases == [1]
    third = approve(compared_with=1)
    promotion.promote(third)
    assert status_of(third) == "champion"


def test_a_first_release_the_endpoint_never_saw_is_withdrawn(approve, settings, endpoint):
    first = approve()
    endpoint.is_up = False

    with pytest.raises(EndpointError, match="ConnectError"):
        promotion.promote(first, timeout_seconds=0.05)

    assert status_of(first) == "approved"
    assert read_state(settings, "rides") is None


def test_a_release_compared_with_a_champion_since_replaced_is_refused(approve, settings):
    promotion.promote(approve())
    late, quick = approve(compared_with=1), approve(compared_with=1)
    promotion.promote(quick)

    with pytest.raises(StaleReleaseError, match="compared with version 1"):
        promotion.promote(late)

    assert status_of(late) == "failed"
    assert declared_version(settings) == 3


def test_a_rollback_puts_the_last_champion_back_and_says_why(approve, settings, aliases):
    first, second = approve(), approve(compared_with=1)
    promotion.promote(first)
    promotion.promote(second)

    assert rollback.roll_back("rides", "it predicts nonsense", rollback.version_before("rides")) == first

    assert (status_of(first), status_of(second)) == ("champion", "rolled_back")
    assert declared_version(settings) == 1
    with open_ledger() as session:
        assert releases.get_release(session, second).note == "it predicts nonsense"
    assert aliases == [1, 2, 1]


def test_a_rollback_goes_to_the_version_asked_for_and_may_be_repeated(approve, settings):
    for compared_with in (None, 1, 2):
        promotion.promote(approve(compared_with))

    assert rollback.roll_back("rides", "bad", 1) == "rides.v1"
    assert rollback.roll_back("rides", "bad", 1) == "rides.v1"

    assert declared_version(settings) == 1
    assert [status_of(f"rides.v{version}") for version in (1, 2, 3)] == ["champion", "retired", "rolled_back"]


def test_the_champion_before_is_the_last_that_served_not_the_highest_version(approve):
    for compared_with in (None, 1, 2):
        promotion.promote(approve(compared_with))
    rollback.roll_back("rides", "bad", 1)
    promotion.promote(approve(compared_with=1))

    assert rollback.roll_back("rides", "bad again", rollback.version_before("rides")) == "rides.v1"


def note_of(release_id):
    with open_ledger() as session:
        return releases.get_release(session, release_id).note


def test_who_takes_a_rollback_back_finds_the_champion_until_then_as_the_one_before(approve):
    for compared_with in (None, 1, 2):
        promotion.promote(approve(compared_with))
    rollback.roll_back("rides", "odd", 2)

    rollback.roll_back("rides", "odd was right", 3)

    assert [status_of(f"rides.v{version}") for version in (1, 2, 3)] == ["retired", "retired", "champion"]
    assert note_of("rides.v3") == "Put back by hand in place of v2: odd was right"
    assert note_of("rides.v2") == "Gave way to v3 again: odd was right"
    assert rollback.version_before("rides") == 2


def test_who_goes_back_twice_does_not_meet_what_was_rolled_back_in_between(approve):
    for compared_with in (None, 1, 2):
        promotion.promote(approve(compared_with))
    for _ in range(2):
        rollback.roll_back("rides", "odd", rollback.version_before("rides"))

    rollback.roll_back("rides", "v3 was right", 3)

    assert rollback.version_before("rides") == 1
    assert rollback.told("rides", 1).endswith("UTC. v2: rolled back and not put back since, so passed over.")


def test_a_rollback_without_anything_to_go_back_to_says_what_there_is(approve):
    promotion.promote(approve())

    with pytest.raises(StaleReleaseError, match=r"the champion is rides.v1, versions that have served: \[1\]"):
        rollback.roll_back("rides", "bad", rollback.version_before("rides"))
    approve(compared_with=1)
    with pytest.raises(StaleReleaseError, match="wanted version 2"):
        rollback.roll_back("rides", "bad", 2)


def test_a_rollback_that_was_killed_is_taken_up_again(approve, settings, endpoint):
    for compared_with in (None, 1, 2):
        promotion.promote(approve(compared_with))

    endpoint.kill()
    with pytest.raises(KeyboardInterrupt):
        rollback.roll_back("rides", "bad", rollback.version_before("rides"))

    assert rollback.roll_back("rides", "bad", rollback.version_before("rides")) == "rides.v2"
    assert declared_version(settings) == 2


def kill_a_rollback(endpoint, to_version=1, *, minutes_ago):
    """Begin to go back from one of v1 and v2 to the other, and be killed while the endpoint is waited for."""
    endpoint.kill()
    with pytest.raises(KeyboardInterrupt):
        rollback.roll_back("rides", "bad", to_version)
    began = now() - timedelta(minutes=minutes_ago)
    with open_ledger() as session:
        target = releases.get_release(session, f"rides.v{to_version}")
        releases.keep_rollout(session, target.id, back={**target.rollout["back"], "at": began.isoformat()})


def test_a_killed_rollback_that_nobody_repeats_is_finished_by_the_sweep(approve, settings, endpoint):
    for compared_with in (None, 1):
        promotion.promote(approve(compared_with))
    kill_a_rollback(endpoint, minutes_ago=1)

    sweeping.reconcile(["rides"], claim_hours=1)
    assert status_of("rides.v1") == "promoting", "whoever began it may still be waiting"

    kill_a_rollback(endpoint, minutes_ago=10)
    sweeping.reconcile(["rides"], claim_hours=1)

    assert [status_of(f"rides.v{version}") for version in (1, 2)] == ["champion", "rolled_back"]
    assert declared_version(settings) == 1
    assert note_of("rides.v2") == "bad"


def test_a_killed_rollback_is_given_up_where_a_newer_version_has_been_deployed_since(approve, settings, endpoint):
    for compared_with in (None, 1):
        promotion.promote(approve(compared_with))
    kill_a_rollback(endpoint, minutes_ago=10)
    promotion.promote(approve(compared_with=2))

    sweeping.reconcile(["rides"], claim_hours=1)

    assert [status_of(f"rides.v{version}") for version in (1, 2, 3)] == ["retired", "retired", "champion"]
    assert declared_version(settings) == 3


def test_a_killed_rollback_that_the_endpoint_refuses_leaves_the_champion(approve, settings, endpoint):
    for compared_with in (None, 1):
        promotion.promote(approve(compared_with))
    kill_a_rollback(endpoint, minutes_ago=10)
    endpoint.refused_versions = {1}

    rollback.finish_left("rides", timeout_seconds=0.05)

    assert [status_of(f"rides.v{version}") for version in (1, 2)] == ["retired", "champion"]
    assert declared_version(settings) == 2


@pytest.mark.parametrize("is_overtaken", [False, True])
def test_a_killed_rollback_to_what_was_rolled_back_leaves_it_that_where_it_comes_to_nothing(
    approve, endpoint, is_overtaken
):
    for compared_with in (None, 1):
        promotion.promote(approve(compared_with))
    rollback.roll_back("rides", "bad", 1)
    kill_a_rollback(endpoint, to_version=2, minutes_ago=10)
    if is_overtaken:
        promotion.promote(approve(compared_with=1))
    endpoint.refused_versions = {2}

    rollback.finish_left("rides", timeout_seconds=0.05)

    assert status_of("rides.v2") == "rolled_back"


def test_deploying_half_a_rollback_does_not_make_a_former_champion_a_failure(approve, endpoint):
    for compared_with in (None, 1):
        promotion.promote(approve(compared_with))

    endpoint.kill()
    with pytest.raises(KeyboardInterrupt):
        rollback.roll_back("rides", "bad", rollback.version_before("rides"))

    with pytest.raises(StaleReleaseError):
        promotion.promote("rides.v1")

    assert status_of("rides.v1") == "retired"


def test_deploying_half_a_rollback_to_what_was_rolled_back_leaves_it_that(approve, endpoint):
    for compared_with in (None, 1):
        promotion.promote(approve(compared_with))
    rollback.roll_back("rides", "bad", 1)
    promotion.promote(approve(compared_with=1))
    kill_a_rollback(endpoint, to_version=2, minutes_ago=0)

    with pytest.raises(StaleReleaseError):
        promotion.promote("rides.v2")

    assert status_of("rides.v2") == "rolled_back"


@pytest.mark.parametrize(("to_version", "serves"), [(None, 2), (1, 1)])
def test_a_rollback_overtakes_a_promotion_under_way(approve, settings, endpoint, to_version, serves):
    for compared_with in (None, 1):
        promotion.promote(approve(compared_with))
    third = approve(compared_with=2)

    endpoint.interrupt_with(lambda: rollback.roll_back("rides", "now!", rollback.version_before("rides", to_version)))
    endpoint.refused_versions = {3}
    with pytest.raises(EndpointError):
        promotion.promote(third, timeout_seconds=0.05)

    assert declared_version(settings) == serves
    assert (status_of(f"rides.v{serves}"), status_of(third)) == ("champion", "rolled_back")


def test_a_rollback_the_endpoint_refuses_leaves_the_champion_and_the_target_as_they_were(approve, settings, endpoint):
    for compared_with in (None, 1):
        promotion.promote(approve(compared_with))
    endpoint.refused_versions = {1}

    with pytest.raises(EndpointError):
        rollback.roll_back("rides", "bad", rollback.version_before("rides"), timeout_seconds=0.05)

    assert [status_of(f"rides.v{version}") for version in (1, 2)] == ["retired", "champion"]
    assert declared_version(settings) == 2

    endpoint.refused_versions = {2}
    rollback.roll_back("rides", "bad", 1)
    with pytest.raises(EndpointError):
        rollback.roll_back("rides", "it was right", 2, timeout_seconds=0.05)

    assert [status_of(f"rides.v{version}") for version in (1, 2)] == ["champion", "rolled_back"]


def test_reconciling_rewrites_a_state_that_differs_from_the_ledger(approve, settings, aliases):
    promotion.promote(approve())
    path = state_path(settings, "rides")
    right = read_state(settings, "rides")
    path.write_text("{broken")

    promotion.reconcile("rides")

    mended = read_state(settings, "rides")
    assert (mended.version, mended.sha256) == (right.version, right.sha256)
    assert mended.generation > right.generation
    assert aliases == [1, 1]


def test_reconciling_what_agrees_changes_nothing(approve, settings):
    promotion.reconcile("rides")
    promotion.promote(approve())
    before = state_path(settings, "rides").stat().st_mtime_ns

    promotion.reconcile("rides")

    assert state_path(settings, "rides").stat().st_mtime_ns == before


def test_a_registry_that_fails_does_not_fail_a_promotion(approve, monkeypatch, point_alias):
    def fail(*_arguments):
        raise RuntimeError("the registry is broken")

    monkeypatch.setitem(sys.modules, "include.registry", SimpleNamespace(point_alias=fail))
    monkeypatch.setattr("include.registry", sys.modules["include.registry"], raising=False)
    monkeypatch.setattr(promotion, "_point_alias", point_alias)
    first = approve()

    promotion.promote(first)

    assert status_of(first) == "champion"


def pause():
    with open_ledger() as session:
        pauses.pause(session, "rides", by="ann", reason="month's end")


def resume():
    with open_ledger() as session:
        pauses.resume(session, "rides", by="ann")


def late_deploys():
    return sweeping.late_rows("deploy", ["rides"], 0).get("rides", [])


def test_a_paused_release_waits_and_is_promoted_after_the_pause(approve, endpoint):
    promotion.promote(approve())
    second = approve(compared_with=1)
    pause()
    asked = len(endpoint.seen)

    assert "by ann: month's end. rides.v2 waits" in promotion.promote(second, by_itself=True)

    assert (status_of("rides.v1"), status_of(second)) == ("champion", "approved")
    assert len(endpoint.seen) == asked, "nothing was declared, so nothing was waited for"
    assert late_deploys() == []
    resume()
    assert late_deploys() == [second]
    assert promotion.promote(second, by_itself=True) is None
    assert status_of(second) == "champion"


def test_a_person_deploys_and_rolls_back_in_a_pause(approve):
    promotion.promote(approve())
    second = approve(compared_with=1)
    pause()

    assert promotion.promote(promotion.approved_release("rides")) is None
    assert status_of(second) == "champion"
    rollback.roll_back("rides", "bad", rollback.version_before("rides"))
    assert status_of("rides.v1") == "champion"


def test_a_pause_that_comes_while_the_endpoint_is_waited_for_puts_the_champion_back(approve, settings, endpoint):
    promotion.promote(approve())
    second = approve(compared_with=1)
    endpoint.on_ping = pause

    assert "rides.v2 waits" in promotion.promote(second, by_itself=True)

    assert (status_of("rides.v1"), status_of(second)) == ("champion", "approved")
    assert declared_version(settings) == 1
    endpoint.on_ping = lambda: None
    resume()
    assert promotion.promote(second, by_itself=True) is None
    assert (status_of(second), declared_version(settings)) == ("champion", 2)


def test_a_pause_that_comes_while_a_first_release_is_waited_for_withdraws_it(approve, settings, endpoint):
    first = approve()
    endpoint.on_ping = pause

    assert promotion.promote(first, by_itself=True)

    assert status_of(first) == "approved"
    assert read_state(settings, "rides") is None


def test_a_pause_does_not_cut_off_a_promotion_that_a_person_started(approve, endpoint):
    first = approve()
    endpoint.on_ping = pause

    assert promotion.promote(first) is None

    assert status_of(first) == "champion"


def test_a_promotion_killed_before_the_pause_is_woken_to_be_undone(approve, settings, endpoint):
    promotion.promote(approve())
    second = approve(compared_with=1)

    def die():
        endpoint.on_ping = lambda: None
        raise KeyboardInterrupt

    endpoint.on_ping = die
    with pytest.raises(KeyboardInterrupt):
        promotion.promote(second, by_itself=True)
    pause()
    assert declared_version(settings) == 2

    assert late_deploys() == [second]
    assert promotion.promote(second, by_itself=True)

    assert (declared_version(settings), status_of(second)) == (1, "approved")
    assert late_deploys() == []


def test_the_champion_is_still_reconciled_in_a_pause(approve, settings):
    first = approve()
    promotion.promote(first)
    pause()
    state_path(settings, "rides").unlink()

    assert promotion.promote(first, by_itself=True) is None

    assert declared_version(settings) == 1


def test_a_promotion_that_fails_does_not_undo_a_rollback_under_way(approve, settings, endpoint):
    for compared_with in (None, 1):
        promotion.promote(approve(compared_with))
    third = approve(compared_with=2)

    def begin_to_roll_back():
        def fail_the_deploy_meanwhile():
            endpoint.on_ping = lambda: None
            endpoint.refused_versions = {3}
            with open_ledger() as session:
                release = releases.get_release(session, third)
            promotion.undo(settings, release, release.fence, note="refused", becomes="failed")

        endpoint.on_ping = fail_the_deploy_meanwhile
        rollback.roll_back("rides", "now!", 1)
        raise KeyboardInterrupt

    endpoint.on_ping = begin_to_roll_back
    with pytest.raises(KeyboardInterrupt):
        promotion.promote(third)

    assert (declared_version(settings), status_of("rides.v1"), status_of(third)) == (1, "champion", "rolled_back")
