from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from airflow.sdk.exceptions import TaskDeferralTimeout, TaskDeferred
from evergreen.operators.land import REMOTE_POKE_SECONDS, LandDeliveryOperator

from include.errors import SourceUnavailableError
from include.ingestion import delivery

NIGHT = {"dag_run": SimpleNamespace(partition_key="2020-01-02", run_id="scheduled")}
BY_HAND = {"dag_run": SimpleNamespace(partition_key=None, run_id="manual")}


@pytest.fixture
def operator(rides):
    return LandDeliveryOperator(task_id="land", pipeline_name="rides", first="2020-01-02", last="2020-01-02")


@pytest.fixture
def is_down(monkeypatch):
    """Return a function that lets one of the source's two questions go without an answer."""

    def fail(*_):
        raise SourceUnavailableError("shop: no route to host")

    def install(question: str) -> None:
        monkeypatch.setattr(delivery, "is_delivered", lambda *_: True)
        monkeypatch.setattr(delivery, question, fail)

    return install


def in_hours(hours: float) -> str:
    return (datetime.now(UTC) + timedelta(hours=hours)).isoformat()


@pytest.mark.parametrize("question", ["is_delivered", "land"])
def test_a_night_waits_for_a_source_that_is_down_at_the_tick(operator, is_down, question):
    is_down(question)

    with pytest.raises(TaskDeferred) as deferred:
        operator.execute(NIGHT)

    waited = deferred.value
    assert (waited.method_name, waited.trigger.day) == ("land", "2020-01-02")
    assert waited.trigger.poke_seconds == REMOTE_POKE_SECONDS
    assert timedelta(hours=11.9) < waited.timeout <= timedelta(hours=12)
    assert in_hours(11.9) < waited.kwargs["until"] <= in_hours(12)


def test_a_source_that_goes_down_again_is_waited_for_until_the_same_moment(operator, is_down):
    is_down("land")
    until = in_hours(1)

    with pytest.raises(TaskDeferred) as deferred:
        operator.land(NIGHT, event="2020-01-02", until=until)

    assert deferred.value.kwargs == {"until": until}
    assert deferred.value.timeout <= timedelta(hours=1)


def test_a_night_whose_wait_is_over_says_what_kept_it(operator, is_down):
    is_down("land")

    with pytest.raises(TaskDeferralTimeout, match=r"12 h.*2020-01-02.*clear this task: shop: no route to host"):
        operator.land(NIGHT, event="2020-01-02", until=in_hours(-1))


def test_a_range_by_hand_fails_at_once_where_its_source_is_down(operator, is_down):
    is_down("land")

    with pytest.raises(SourceUnavailableError, match="no route to host"):
        operator.execute(BY_HAND)
