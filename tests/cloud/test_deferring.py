"""A task that waits for its job without a worker: by Airflow's own way, past failing looks, its lease, and a kill."""

import asyncio
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.bases.operator import TriggerFailureReason
from airflow.sdk.exceptions import TaskDeferred
from evergreen.operators.train import GRACE, TrainModelOperator
from evergreen.triggers import job as waiting
from evergreen.triggers.job import JobTrigger

from include import sweeping
from include.errors import TrainingInterruptedError
from include.ledger import Attempt, jobs, open_ledger
from include.ledger.tables import now
from include.pipeline import Pipeline
from include.platforms import ordering
from include.platforms.aws import Aws
from include.platforms.base import Job, State
from include.training.spec import Spec
from tests.cloud.places import wait_for
from tests.cloud.sagemaker import SageMaker

SLOW = {"epochs": 400, "checkpoint_seconds": 0.2}
Defer = Callable[..., tuple[TrainModelOperator, TaskDeferred]]


@pytest.fixture(autouse=True)
def _nothing_runs_on(sagemaker: SageMaker) -> Iterator[None]:
    yield
    sagemaker.kill_all()
    wait_for(lambda: all(job.status not in {"InProgress", "Stopping"} for job in sagemaker.jobs.values()))


@pytest.fixture
def defer(ask: Callable[..., Spec]) -> Defer:
    """Start a training for a new request, and return its task and what it waits for."""

    def start(key: str, **recipe: Any) -> tuple[TrainModelOperator, TaskDeferred]:
        task = task_for(ask(key, **recipe).request_id)
        with pytest.raises(TaskDeferred) as deferred:
            task.execute({})
        return task_for(task.request_id), deferred.value  # another process goes on

    return start


def task_for(request_id: str) -> TrainModelOperator:
    return TrainModelOperator(task_id="train", pipeline_name="rides", request_id=request_id)


def newest(request_id: str) -> Attempt:
    with open_ledger() as session:
        return jobs.attempts_of(session, request_id)[-1]


def end_lease(name: str, moments_ago: timedelta = timedelta()) -> None:
    with open_ledger() as session:
        session.get_one(Attempt, name).lease_until = now() - moments_ago


def state_of(name: str) -> State:
    return Aws().status(Job(name)).state


def fire(trigger: Any) -> Any:
    return asyncio.run(asyncio.wait_for(anext(trigger.run()), 120)).payload


DAG = """
from airflow.sdk import DAG
from evergreen.operators.train import TrainModelOperator
with DAG("waits"):
    TrainModelOperator(task_id="train", pipeline_name="rides", request_id="{request_id}")
"""


def test_airflow_itself_defers_it_resumes_it_and_shows_the_jobs_output(
    ask: Callable[..., Spec],
    airflow_database: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from airflow.dag_processing.dagbag import DagBag

    spec = ask("by_airflow")
    (tmp_path / "dags").mkdir()
    (tmp_path / "dags" / "waits.py").write_text(DAG.format(request_id=spec.request_id))
    monkeypatch.setattr("airflow.settings.DAGS_FOLDER", str(tmp_path / "dags"))

    run = DagBag(dag_folder=str(tmp_path / "dags")).dags["waits"].test()

    told = "".join(capsys.readouterr())
    assert run.state == "success", told
    assert newest(spec.request_id).status == "succeeded"
    assert told.index("Pausing task as DEFERRED") < told.index("Training in progress") < told.index("Learn from")


def test_the_trigger_can_be_made_again_from_what_it_says_of_itself() -> None:
    path, arguments = JobTrigger("evergreen-rides-1", 30.0).serialize()

    assert (path, arguments) == (
        "evergreen.triggers.job.JobTrigger",
        {"name": "evergreen-rides-1", "poke_seconds": 30.0},
    )
    assert JobTrigger(**arguments).serialize() == (path, arguments)


def test_it_waits_past_looks_that_fail_and_fires_when_the_job_has_ended(sagemaker: SageMaker, defer: Defer) -> None:
    task, deferred = defer("blind")
    sagemaker.fail_next("ExpiredTokenException", action="DescribeTrainingJob", times=3)

    assert fire(deferred.trigger) == newest(task.request_id).name

    assert state_of(newest(task.request_id).name) == "succeeded"
    task.resume({}, newest(task.request_id).name)
    assert newest(task.request_id).status == "succeeded"


def test_a_task_that_wakes_though_its_job_goes_on_waits_again(
    sagemaker: SageMaker,
    defer: Defer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    task, deferred = defer("away", **SLOW)
    monkeypatch.setattr(waiting, "PATIENCE", 2)
    sagemaker.fail_next("ExpiredTokenException", action="DescribeTrainingJob", times=2)

    event = fire(deferred.trigger)
    with pytest.raises(TaskDeferred) as again:
        task.resume({}, event)

    assert again.value.trigger.serialize() == deferred.trigger.serialize()


def test_what_outlives_its_lease_is_stopped_and_the_failure_says_so(
    defer: Defer,
) -> None:
    task, deferred = defer("overdue", **SLOW)
    attempt = newest(task.request_id)
    assert attempt.lease_until - now() < deferred.timeout < attempt.lease_until - now() + GRACE + timedelta(minutes=1)
    end_lease(attempt.name)

    event = fire(deferred.trigger)

    with pytest.raises(TrainingInterruptedError, match="took longer than its lease, until"):
        task.resume({}, event)
    assert newest(task.request_id).status == "stopped"


def test_where_no_triggerer_lives_airflows_own_time_out_stops_the_job_and_says_why(
    defer: Defer,
) -> None:
    task, _ = defer("unseen", **SLOW)
    end_lease(newest(task.request_id).name, GRACE)

    with pytest.raises(TrainingInterruptedError, match="took longer than its lease, until"):
        task.resume_execution("__fail__", {"error": TriggerFailureReason.TRIGGER_TIMEOUT}, {})

    assert state_of(newest(task.request_id).name) == "interrupted"


def test_and_one_that_went_well_meanwhile_is_taken_home(
    defer: Defer,
) -> None:
    task, _ = defer("well")
    wait_for(lambda: state_of(newest(task.request_id).name) == "succeeded")
    end_lease(newest(task.request_id).name, GRACE)

    task.resume_execution("__fail__", {"error": TriggerFailureReason.TRIGGER_TIMEOUT}, {})

    assert newest(task.request_id).status == "succeeded"


@pytest.mark.parametrize(
    ("state", "is_stopped"), [("failed", True), (None, True), ("success", True), ("deferred", False)]
)
def test_a_person_who_ends_the_task_stops_the_job_and_another_triggerer_does_not(
    defer: Defer,
    monkeypatch: pytest.MonkeyPatch,
    state: str | None,
    is_stopped: bool,  # noqa: FBT001
) -> None:
    task, deferred = defer(f"killed_{state}", **SLOW)
    trigger, name = deferred.trigger, newest(task.request_id).name
    trigger.task_instance = SimpleNamespace(dag_id="rides__train", run_id="run", task_id="train")
    # What Airflow's API says of the task; the triggerer asks it.
    monkeypatch.setattr(
        "airflow.sdk.execution_time.task_runner.RuntimeTaskInstance.get_task_states",
        lambda dag_id, task_ids, run_ids: {run_ids[0]: {task_ids[0]: state}},
    )

    asyncio.run(trigger.on_kill())

    assert (newest(task.request_id).reason == "the task was killed") == is_stopped
    if is_stopped:
        wait_for(lambda: state_of(name) != "running")
    else:
        assert state_of(name) == "running"


def test_a_kill_that_the_platform_does_not_hear_is_left_to_sweep(
    sagemaker: SageMaker, pipeline: Pipeline, defer: Defer
) -> None:
    task, _ = defer("unheard", **SLOW)
    ordered = ordering.ordered_last(pipeline, task.request_id)
    sagemaker.fail_next("AccessDeniedException", "not authorized", action="StopTrainingJob")
    with pytest.raises(ValueError, match="not authorized"):
        ordered.stop("the task was killed")
    assert state_of(ordered.job.name) == "running"

    assert sweeping.stop_overdue_jobs([]) == [ordered.job.name]
    wait_for(lambda: state_of(ordered.job.name) != "running")
