from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from include.ledger import Release, Request, Window
from include.policy import Retention
from include.retention import Item, Kind, Needed, days_kept, may_go, models_needed, policy_of

NOW = datetime(2020, 6, 1, 12, tzinfo=UTC)
POLICY = Retention(models_days=10, runs_days=10, former_champions=2, predictions_days=5)
KINDS = st.sampled_from(get_args(Kind))


def item(kind, name="x", *, days=0.0):
    return Item(kind, Path("lake") / name, NOW - timedelta(days=days))


def release(version, status="retired", *, serving_days_ago=None):
    serving_at = None if serving_days_ago is None else NOW - timedelta(days=serving_days_ago)
    return Release(version=version, status=status, serving_at=serving_at, model_uri=f"models/r{version}")


@given(kind=KINDS, days=st.floats(0, 2000), shift=st.floats(0.001, 500))
def test_what_may_go_may_go_for_ever_after(kind, days, shift):
    once = may_go([item(kind, days=days)], Needed(), POLICY, NOW)
    later = may_go([item(kind, days=days)], Needed(), POLICY, NOW + timedelta(days=shift))

    assert len(later) >= len(once)


@given(kind=KINDS, age=st.floats(0.01, 1000))
def test_nothing_younger_than_its_kind_is_kept_ever_goes(kind, age):
    kept = days_kept(POLICY)[kind]
    goes = bool(may_go([item(kind, days=age)], Needed(), POLICY, NOW))

    assert goes == (kept is not None and age > kept)


@given(kind=st.sampled_from(["runs", "models"]), days=st.floats(0, 5000))
def test_nothing_that_is_needed_ever_goes(kind, days):
    needed = Needed(runs=frozenset({"x"}), models=frozenset({"x"}))

    assert may_go([item(kind, days=days)], needed, POLICY, NOW) == []
    assert may_go([item(kind, "other", days=5000)], needed, POLICY, NOW)


def test_deliveries_are_kept_for_ever_unless_the_yaml_says_otherwise():
    assert may_go([item("raw", days=100_000)], Needed(), Retention(), NOW) == []
    assert may_go([item("raw", days=31)], Needed(), Retention(raw_days=30), NOW)


def test_what_late_labels_are_joined_with_lasts_as_long_as_they_are_waited_for(rides):
    labels = rides.source.labels.model_copy(update={"delay_days": 100, "wait_days": 20})
    late = rides.model_copy(update={"source": rides.source.model_copy(update={"labels": labels})})

    assert (policy_of(rides).runs_days, policy_of(rides).predictions_days) == (30, 90)
    assert (policy_of(late).runs_days, policy_of(late).predictions_days) == (121, 121)


@pytest.mark.parametrize(("asked", "kept"), [(7, 121), (200, 200), (None, None)])
def test_deliveries_last_as_long_as_their_labels_are_waited_for(rides, asked, kept):
    labels = rides.source.labels.model_copy(update={"delay_days": 100, "wait_days": 20})
    source = rides.source.model_copy(update={"labels": labels})
    late = rides.model_copy(update={"source": source, "retention": Retention(raw_days=asked)})

    assert policy_of(late).raw_days == kept


def test_what_a_running_task_may_be_writing_is_never_removed():
    shortest = Retention(
        raw_days=1,
        quarantine_days=1,
        predictions_days=1,
        scores_days=1,
        reports_days=1,
        runs_days=2,
        models_days=2,
        snapshots_days=2,
    )

    assert may_go([item(kind, days=0.9) for kind in get_args(Kind)], Needed(), shortest, NOW) == []


@pytest.mark.parametrize("key", ["runs_days", "snapshots_days", "models_days"])
def test_a_policy_that_could_cut_a_running_task_off_is_refused(key):
    with pytest.raises(ValidationError, match="greater than or equal to 2"):
        Retention(**{key: 1})


def test_models_in_use_and_the_newest_former_champions_stay():
    known = [
        release(1, serving_days_ago=300),
        release(2, serving_days_ago=200),
        release(3, "rolled_back", serving_days_ago=100),
        release(4, "rejected"),
        release(5, "champion", serving_days_ago=50),
        *(release(6 + number, status) for number, status in enumerate(("candidate", "approved", "promoting"))),
        release(9, "removed", serving_days_ago=400),
        release(10, "failed"),
    ]

    assert models_needed(known, [], [], POLICY, NOW) == {2, 3, 5, 6, 7, 8}


def test_a_version_whose_captured_days_may_be_measured_again_stays():
    windows = [Window(version=1, at=NOW - timedelta(days=4)), Window(version=2, at=NOW - timedelta(days=6))]

    assert models_needed([release(1), release(2)], [], windows, POLICY, NOW) == {1}


def test_the_folder_of_a_request_that_is_being_worked_on_stays():
    assert models_needed([], [Request(id="rides.drift.2020-01-01")], [], POLICY, NOW) == {"rides.drift.2020-01-01"}


def test_the_ledgers_naive_times_are_utc():
    windows = [Window(version=1, at=(NOW - timedelta(days=4)).replace(tzinfo=None))]

    assert models_needed([], [], windows, POLICY, NOW) == {1}
