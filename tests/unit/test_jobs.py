"""Names, interruptions and money of jobs; properties, since names must never collide and money never double."""

import re
from contextlib import nullcontext

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.errors import BudgetError
from include.jobs import Wanted, check_budget, cost_of, expected_seconds, may_be_interrupted, name_of

IDS = st.tuples(st.text(max_size=80), st.text(max_size=200), st.integers(1, 10_000))


def wanted(**changes) -> Wanted:
    asked = {"pipeline": "rides", "request_id": "r", "platform": "aws", "accelerator": "cuda", "price_per_hour": 3.6}
    return Wanted(**{**asked, "max_seconds": 3600, **changes})


@given(IDS)
def test_every_name_is_valid_for_sagemaker_and_kubernetes(ids):
    name = name_of(*ids)

    assert len(name) <= 63
    assert re.fullmatch(r"[a-z]([a-z0-9-]*[a-z0-9])?", name)
    assert "--" not in name
    assert name == name_of(*ids)


@given(IDS, IDS)
def test_two_attempts_never_share_a_name(one, other):
    assert (name_of(*one) == name_of(*other)) == (one == other)


def test_long_ids_that_differ_at_the_end_do_not_share_a_name():
    assert name_of("p" * 61, "x" * 250 + "1", 1) != name_of("p" * 61, "x" * 250 + "2", 1)
    assert name_of("flight_delays", "a", 2).startswith("evergreen-flight-delays-")


@pytest.mark.parametrize(
    ("ends", "expected"),
    [
        ([], True),
        (["interrupted"], True),
        (["interrupted", "failed", "stopped"], True),
        (["interrupted", "failed", "interrupted"], False),
    ],
)
def test_after_so_many_interruptions_the_next_attempt_runs_on_demand(ends, expected):
    assert may_be_interrupted(wanted(is_spot_welcome=True, on_demand_after=2), ends) is expected
    assert not may_be_interrupted(wanted(is_spot_welcome=False), ends)


def test_a_job_is_expected_to_take_as_long_as_the_longest_before_it():
    assert expected_seconds([], 3600) == 3600
    assert expected_seconds([60, 90], 3600) == 90
    assert cost_of(1800, 3.6) == 1.8


@given(st.floats(0, 100), st.floats(0, 100), st.floats(0.01, 100))
def test_a_budget_is_never_overdrawn(spent, estimate, budget):
    is_refused = spent + estimate > budget
    with pytest.raises(BudgetError, match="Nothing was started") if is_refused else nullcontext():
        check_budget(wanted(budget_per_month=budget), spent, estimate)
    check_budget(wanted(), spent, estimate)
