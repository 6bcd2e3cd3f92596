from dataclasses import replace

import pytest

from include.deployment import Seen, Step, has_acknowledged, judge_step, steps_of
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
