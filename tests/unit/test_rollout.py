"""Rollouts against a stand-in for the endpoint's answers; tests/stages/serving/test_rollout.py has a real one."""

from datetime import UTC, datetime, timedelta

import pytest

from include import observation, pausing, promotion, rollback, rollout
from include.errors import EndpointError, RolloutError, StaleReleaseError
from include.ledger import open_ledger, releases
from include.pipeline import Pipeline
from include.policy import Rollout
from include.serving.state import read_state

FIRST, SECOND = "rides.v1", "rides.v2"


class Endpoint:
    """What the endpoint would say: it takes up any state, and counts what a test has it count."""

    def __init__(self):
        self.counters = {}
        self.problem = ""
        self.is_refused = False
        self.states = []

    def count(self, version, answered, failed=0, p99_ms=5.0):
        seconds = {"0.001": 0.0, str(p99_ms / 990): float(answered), "+Inf": float(answered)}
        self.counters[str(version)] = {"answered": float(answered), "failed": float(failed), **seconds}

    def wait(self, _url, state, _seconds):
        self.states.append(state)
        return self.problem, self.is_refused


@pytest.fixture
def endpoint(monkeypatch):
    found = Endpoint()
    for module in (promotion, rollout):
        monkeypatch.setattr(module, "wait_until_acknowledged", found.wait)
    monkeypatch.setattr(observation, "counters_of", lambda _: {name: dict(of) for name, of in found.counters.items()})
    monkeypatch.setattr(observation, "shift_since", lambda *_: 0.1)
    monkeypatch.setattr(observation, "quality_drop_since", lambda *_: None)
    monkeypatch.setattr(promotion, "_point_alias", lambda _: None)
    return found


@pytest.fixture(autouse=True)
def policy(monkeypatch, rides):
    """Set the policy of `rides`."""

    def set_policy(**changed):
        changed = {"steps": [5.0, 25.0], "min_requests": 10, **changed}
        pipeline = rides.model_copy(update={"rollout": Rollout(**changed)})
        monkeypatch.setattr(rollout, "load_pipeline", lambda _: pipeline)

    set_policy()
    return set_policy


@pytest.fixture
def clock(monkeypatch):
    """A clock that a test moves on."""

    class Clock(datetime):
        moment = datetime(2030, 1, 1, tzinfo=UTC)

        @classmethod
        def now(cls, _zone):
            return cls.moment

        @classmethod
        def pass_minutes(cls, minutes):
            cls.moment += timedelta(minutes=minutes)

    monkeypatch.setattr(rollout, "datetime", Clock)
    return Clock


@pytest.fixture
def second(approve, endpoint, clock):
    """A release that is approved against a champion."""
    promotion.promote(approve())
    return approve(compared_with=1)


def release(release_id):
    with open_ledger() as session:
        return releases.get_release(session, release_id)


def declared(settings):
    return read_state(settings, "rides")


def share(settings):
    state = declared(settings)
    return state.challenger and (state.version, state.challenger.version, state.challenger.share)


def test_the_first_release_has_nobody_to_be_tried_beside(approve, endpoint):
    assert rollout.advance(approve()).is_over
    assert endpoint.states == []


def test_a_release_goes_through_all_steps_and_is_then_promoted(second, endpoint, settings, clock):
    shares = []
    for _ in range(2):
        assert not rollout.advance(second).is_over
        shares.append(share(settings))
        assert not rollout.advance(second).is_over, "the bake is not over"
        clock.pass_minutes(10)
        endpoint.count(1, 900)
        endpoint.count(2, 100)
        progress = rollout.advance(second)
        endpoint.counters = {}

    assert progress.is_over
    assert shares == [(1, 2, 0.05), (1, 2, 0.25)]
    assert release(second).status == "promoting"
    assert [step["decision"] for step in release(second).rollout["steps"]] == ["go_on", "go_on"]

    promotion.promote(second)

    assert (release(second).status, declared(settings).version, share(settings)) == ("champion", 2, None)


def test_every_step_has_a_generation_of_its_own(second, endpoint, clock):
    rollout.advance(second)
    clock.pass_minutes(10)
    rollout.advance(second)
    rollout.advance(second)

    assert [state.generation for state in endpoint.states] == [1, 2, 3]


def test_a_failing_release_is_sent_back_at_once(second, endpoint, settings):
    rollout.advance(second)
    endpoint.count(2, 5, failed=1)

    with pytest.raises(RolloutError, match="step 1 of 2: it could not answer 1 of 6"):
        rollout.advance(second)

    assert (release(second).status, release(FIRST).status) == ("failed", "champion")
    assert "Sent back: it could not answer" in release(second).note
    assert (declared(settings).version, share(settings)) == (1, None)
    with pytest.raises(StaleReleaseError, match="is failed: Sent back"):
        rollout.advance(second)


def test_what_was_counted_before_a_step_does_not_count(second, endpoint, clock):
    endpoint.count(2, 100, failed=50)
    rollout.advance(second)
    clock.pass_minutes(10)
    endpoint.count(2, 150, failed=50)

    rollout.advance(second)

    assert release(second).rollout["steps"][0]["challenger"]["failed"] == 0


def test_an_endpoint_that_began_anew_has_counted_from_nought(second, endpoint):
    endpoint.count(2, 100, failed=50)
    rollout.advance(second)
    endpoint.count(2, 10, failed=5)

    with pytest.raises(RolloutError, match="5 of 15"):
        rollout.advance(second)


def test_answers_that_lie_further_apart_than_when_replayed_send_a_release_back(second, endpoint, clock, monkeypatch):
    with open_ledger() as session:
        releases.keep_rollout(session, second, replay={"shift": 0.2})
    monkeypatch.setattr(observation, "shift_since", lambda *_: 0.9)
    rollout.advance(second)
    clock.pass_minutes(10)
    endpoint.count(1, 900)
    endpoint.count(2, 100)

    with pytest.raises(RolloutError, match=r"0.90 from the champion's, on the replayed requests it was 0.20"):
        rollout.advance(second)


def test_at_all_requests_the_champion_is_compared_as_it_was_a_step_before(second, endpoint, clock, policy):
    policy(steps=[50, 100], latency_budget_ms=1)
    rollout.advance(second)
    clock.pass_minutes(10)
    endpoint.count(1, 500, p99_ms=5)
    endpoint.count(2, 500, p99_ms=5)
    rollout.advance(second)
    endpoint.counters = {}
    rollout.advance(second)
    clock.pass_minutes(10)
    endpoint.count(2, 1000, p99_ms=50)

    with pytest.raises(RolloutError, match="step 2 of 2: one in a hundred answers takes 50 ms, the champion's 5"):
        rollout.advance(second)


def test_a_pause_ends_a_trial_and_the_release_waits(second, settings):
    rollout.advance(second, by_itself=True)
    pausing.pause("rides", "look first")

    held = rollout.advance(second, by_itself=True).held

    assert "look first" in held
    assert (release(second).status, share(settings)) == ("approved", None)
    assert not rollout.advance(second).held, "by hand it goes on"


def test_a_rollback_ends_a_trial(second, settings):
    rollout.advance(second)

    rollback.roll_back("rides", "I do not like it", rollback.version_before("rides"))

    assert (release(second).status, release(FIRST).status, share(settings)) == ("rolled_back", "champion", None)
    with pytest.raises(StaleReleaseError, match="rolled_back: I do not like it"):
        rollout.advance(second)


def test_a_rollback_in_a_trial_says_that_the_champion_goes_on(second, caplog):
    rollout.advance(second)

    assert rollback.told("rides", 1) == "The trial of v2 is over; rides.v1 goes on."
    rollback.roll_back("rides", "I do not like it", 1)

    assert "The trial of v2 is over; rides.v1 goes on." in caplog.text
    assert "the declared state is not" not in caplog.text


def test_a_release_that_was_rolled_back_after_all_its_steps_is_not_tried_again(second, clock):
    for _ in range(2):
        rollout.advance(second)
        clock.pass_minutes(10)
        progress = rollout.advance(second)
    assert progress.is_over
    promotion.promote(second)
    rollback.roll_back("rides", "it felt wrong", 1)

    with pytest.raises(StaleReleaseError, match="rides.v2 is rolled_back: it felt wrong"):
        rollout.advance(second)


@pytest.mark.parametrize(("is_refused", "becomes"), [(True, "failed"), (False, "approved")])
def test_a_trial_that_is_not_acknowledged_is_undone(second, endpoint, settings, is_refused, becomes):
    endpoint.problem, endpoint.is_refused = "no", is_refused

    with pytest.raises(EndpointError, match="rides.v2 beside rides.v1"):
        rollout.advance(second)

    assert (release(second).status, share(settings)) == (becomes, None)


def test_a_release_compared_with_a_former_champion_is_not_tried(second, approve):
    third = approve(compared_with=1)
    promotion.promote(second)

    with pytest.raises(StaleReleaseError, match="compared with version 1"):
        rollout.advance(third)

    assert release(third).status == "failed"


class KilledError(BaseException):
    """The process is gone."""


def test_killed_at_any_write_a_rollout_ends_as_if_nothing_had_happened(second, endpoint, settings, clock, monkeypatch):
    calls = []

    def deadly(module, name):
        real = getattr(module, name)

        def call(*arguments, **named):
            calls.append(name)
            if len(calls) in doomed:
                raise KilledError
            found = real(*arguments, **named)
            if -len(calls) in doomed:
                raise KilledError
            return found

        monkeypatch.setattr(module, name, call)

    doomed = {number * sign for number in range(2, 40, 3) for sign in (1, -1)}
    deadly(releases, "keep_rollout")
    deadly(releases, "begin_promotion")
    deadly(rollout, "declare")
    deadly(rollout, "wait_until_acknowledged")
    deadly(promotion, "declare")
    num_killed = 0
    for _ in range(200):
        clock.pass_minutes(6)
        try:
            if rollout.advance(second).is_over:
                promotion.promote(second)
                break
        except KilledError:
            num_killed += 1

    assert num_killed > 10
    assert (release(second).status, release(FIRST).status) == ("champion", "retired")
    assert (declared(settings).version, share(settings)) == (2, None)
    assert [step["share"] for step in release(second).rollout["steps"]] == [0.05, 0.25]


def test_looks_are_more_frequent_than_bakes():
    assert Rollout(bake_minutes=10).seconds_between_looks == 30
    assert Rollout(bake_minutes=0).seconds_between_looks == 2
    assert isinstance(Pipeline.model_fields["rollout"].default_factory(), Rollout)
