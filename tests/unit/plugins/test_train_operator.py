from types import SimpleNamespace
from unittest.mock import MagicMock

import pytest
from airflow.sdk.exceptions import AirflowSkipException
from evergreen.operators.train import TrainModelOperator

from include import retraining, sweeping
from include.jobs import Wanted
from include.ledger import jobs, open_ledger, pauses, requests
from include.platforms import ordering
from include.platforms.base import Status


@pytest.fixture
def operator(rides):
    """A claimed request's task; the pipeline was paused after the claim."""
    with open_ledger() as session:
        filed = requests.file_request(session, "rides", reason="it fell", triggered_by="drift", key="k", detail={})
    retraining.claim(rides, filed.id, "run-1", {})
    with open_ledger() as session:
        pauses.pause(session, "rides", by="ann", reason="stop")
    return TrainModelOperator(task_id="train", pipeline_name="rides", request_id=filed.id)


@pytest.fixture
def order(monkeypatch):
    ordered = MagicMock(**{"may_be_left.return_value": False})
    order = MagicMock(return_value=ordered)
    monkeypatch.setattr(ordering, "order", order)
    return order


@pytest.fixture
def leave_job(operator, monkeypatch):
    """Leave an open attempt at the request, as a lost worker does; its job is in the state that is named."""

    def leave(state):
        platform = SimpleNamespace(
            status=lambda job: Status(state, "", 10.0), leased=list, stop=lambda job: pytest.fail("it was stopped")
        )
        for place in (ordering, sweeping):
            monkeypatch.setattr(place, "platform_named", lambda name: platform)
        with open_ledger() as session:
            jobs.next_attempt(session, Wanted("rides", operator.request_id, "aws", "cpu", 1.0, 3600))

    return leave


def open_requests():
    with open_ledger() as session:
        return [each.id for each in requests.open_requests(session, "rides", older_than_seconds=0)]


def test_a_pause_between_claim_and_training_skips_the_training(operator, order):
    with pytest.raises(AirflowSkipException, match=r"by ann: stop\. rides\.drift\.k is open again"):
        operator.execute({})

    order.assert_not_called()
    assert open_requests() == [operator.request_id]


@pytest.mark.parametrize("state", ["running", "succeeded", "refused"])
def test_a_try_after_a_worker_s_crash_follows_its_job_to_the_end_in_a_pause(state, operator, order, leave_job):
    leave_job(state)

    operator.execute({})

    order.return_value.settle.assert_called_once_with()
    assert open_requests() == []
    assert sweeping.stop_overdue_jobs([]) == []


@pytest.mark.parametrize("state", ["interrupted", "failed", "gone"])
def test_a_pause_starts_no_further_job_where_the_one_before_has_ended(state, operator, order, leave_job):
    leave_job(state)

    with pytest.raises(AirflowSkipException, match="is open again"):
        operator.execute({})

    order.assert_not_called()
    assert open_requests() == [operator.request_id]
