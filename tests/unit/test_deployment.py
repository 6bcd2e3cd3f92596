from dataclasses import replace
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest

from include.deployment import Seen, Step, choose_target, has_acknowledged, judge_step, rollback_in_words, steps_of
from include.errors import StaleReleaseError
from include.policy import Rollout
from include.serving.state import State

POLICY = Rollout(min_requests=100, max_failed=0.01, max_p99_ratio=1.5, latency_budget_ms=20, max_shift=0.5)
FINE = Step(Seen(900, 0, 30.0), Seen(300, 0, 31.0), shift=0.4, expected_shift=0.3, quality_drop=0.01)


def tried(**changed):
    return replace(FINE, challenger=replace(FINE.challenger, **changed))


@pytest.mark.parametrize(
    ("step", "is_over", "decision", "said"),
    [
        (FINE, True, "go_on", "300 requests, 0 failed, p99 31.0 ms against 30.0"),
        (FINE, False, "wait", "300 requests so far"),
        (tried(failed=3), False, "wait", "3 failed"),
        (tried(failed=4), False, "roll_back", "could not answer 4 of 304"),
        (tried(answered=0, failed=1), False, "roll_back", "could not answer 1 of 1"),
        (tried(answered=0), True, "go_on", "traffic is thin: 0 requests by it and 900"),
        (tried(answered=99, p99_ms=1000.0), True, "go_on", "traffic is thin"),
        (replace(FINE, champion=Seen(99, 0, 1.0)), True, "go_on", "traffic is thin"),
        (tried(p99_ms=45.0), True, "go_on", "p99 45.0 ms"),
        (tried(p99_ms=45.1), True, "roll_back", "takes 45 ms, the champion's 30"),
        (replace(tried(p99_ms=20.0), champion=Seen(900, 0, 2.0)), True, "go_on", "p99 20.0 ms against 2.0"),
        (replace(FINE, shift=0.81), True, "roll_back", "lie 0.81 from the champion's"),
        (replace(FINE, shift=0.8), True, "go_on", "0.80 from the champion's (0.30 when replayed)"),
        (replace(FINE, shift=6.6, expected_shift=4.4), True, "go_on", "6.60 from the champion's (4.40 when replayed)"),
        (replace(FINE, shift=6.7, expected_shift=4.4), True, "roll_back", "at most 6.60"),
        (replace(FINE, shift=9.0, expected_shift=None), True, "go_on", "answers 9.00 from the champion's"),
        (replace(FINE, shift=None), True, "go_on", "quality -0.01"),
        (replace(FINE, quality_drop=0.11), True, "roll_back", "quality is worse by 0.11"),
        (replace(FINE, quality_drop=0.11), False, "wait", "so far"),
        (replace(FINE, quality_drop=None), True, "go_on", "300 requests"),
    ],
)
def test_a_step_is_judged_by_failures_at_once_and_by_all_else_when_it_is_over(step, is_over, decision, said):
    verdict = judge_step(POLICY, step, 0.1, is_over=is_over)

    assert (verdict.decision, said in verdict.reason) == (decision, True), verdict


def test_all_that_is_wrong_is_said_at_once():
    verdict = judge_step(POLICY, replace(tried(p99_ms=99.0), shift=3.0, quality_drop=1.0), 0.1, is_over=True)

    assert [word in verdict.reason for word in ("takes 99 ms", "lie 3.00", "worse by 1")] == [True] * 3


@pytest.mark.parametrize(
    ("policy", "shares"),
    [
        (Rollout(), [0.25]),
        (Rollout(steps=[]), []),
        (Rollout(shadow="live", steps=[5, 25, 100]), [0, 0.05, 0.25, 1]),
    ],
)
def test_a_rollout_goes_from_copies_to_all_requests(policy, shares):
    assert steps_of(policy) == shares


def test_steps_must_grow():
    with pytest.raises(ValueError, match="larger than the one before"):
        Rollout(steps=[25, 5])


def worker(generation, name="rides"):
    return {"pipelines": {name: {"version": 2, "generation": generation}}}


@pytest.mark.parametrize(
    ("workers", "is_acknowledged"),
    [
        ([worker(5)], True),
        ([worker(5), worker(5)], True),
        ([worker(5), worker(4)], False),
        ([worker(5), {"pipelines": {}}], False),
        ([worker(5, "others")], False),
        ([], False),
    ],
)
def test_only_every_process_with_this_generation_is_an_acknowledgement(workers, is_acknowledged):
    assert has_acknowledged({"workers": workers}, State("rides", 5, 2, "m", "s")) is is_acknowledged


def known_from(told):
    """Return releases, newest first, from words such as "v1 retired 3": the hour it began to serve, if it has."""
    found = []
    for each in told.split(", "):
        name, status, *hour = each.split()
        at = datetime(2020, 2, 1, int(hour[0]), tzinfo=UTC) if hour else None
        found.append(SimpleNamespace(id=f"rides.{name}", version=int(name[1:]), status=status, serving_at=at))
    return sorted(found, key=lambda release: -release.version)


def champion_among(known):
    return next((release for release in known if release.status == "champion"), None)


@pytest.mark.parametrize(
    ("told", "to_version", "chosen"),
    [
        ("v1 retired 1, v2 retired 2, v3 champion 3", None, 2),
        ("v1 retired 1, v2 retired 2, v3 champion 3", 1, 1),
        ("v1 retired 1, v2 rolled_back 2, v3 champion 3", None, 1),
        ("v1 retired 1, v2 rolled_back 2, v3 champion 3", 2, 2),
        ("v1 retired 5, v2 retired 2, v4 champion 6", None, 1),  # the last to serve, not the highest number
        ("v1 retired 1, v3 retired 4, v5 champion 5", None, 3),  # v5 was rolled back to v3, and put back
        ("v1 champion 4, v2 retired 2, v3 rolled_back 3", None, None),  # back, and never forward
        ("v1 champion 4, v2 retired 2, v3 rolled_back 3", 3, 3),
        ("v1 removed 1, v2 champion 2, v3 approved", None, None),
        ("v1 retired 1, v2 champion 2, v3 rejected", 3, None),
        ("v1 promoting 1, v2 retired 2, v3 champion 3", None, 1),  # half-way back already
        ("v1 retired 1, v2 champion 2, v3 promoting", None, 1),
        ("v1 retired 1, v2 retired 2", None, 2),
    ],
)
def test_a_rollback_goes_to_the_one_before_or_to_the_version_asked_for(told, to_version, chosen):
    known = known_from(told)
    if chosen is None:
        with pytest.raises(StaleReleaseError, match=r"Nothing to roll back to: .*put back by its number"):
            choose_target(champion_among(known), known, to_version)
    else:
        assert choose_target(champion_among(known), known, to_version).version == chosen


@pytest.mark.parametrize(
    ("told", "target", "said"),
    [
        ("v1 retired 1, v2 champion 2", 1, "Back from v2 to rides.v1, which began to serve at 2020-02-01 01:00 UTC."),
        (
            "v1 retired 1, v2 rolled_back 2, v3 champion 3, v4 rolled_back",
            1,
            "Back from v3 to rides.v1, which began to serve at 2020-02-01 01:00 UTC. "
            "v2: rolled back and not put back since, so passed over.",
        ),
        ("v1 champion 3, v2 rolled_back 2", 2, "rides.v2 is put back in place of v1, which stays the one before it."),
        ("v1 champion 3, v2 promoting", 1, "The trial of v2 is over; rides.v1 goes on."),
        ("v1 champion 3, v2 rolled_back 2", 1, "rides.v1 serves already."),
        ("v1 retired 1", 1, "No version serves; rides.v1 is put back."),
    ],
)
def test_a_rollback_says_where_it_goes_and_why(told, target, said):
    known = known_from(told)
    tried = [release for release in known if release.status == "promoting" and release.serving_at is None]
    to = next(release for release in known if release.version == target)

    assert rollback_in_words(champion_among(known), to, known, tried) == said
