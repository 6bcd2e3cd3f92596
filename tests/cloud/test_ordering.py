"""A training from ledger to SageMaker and back: crashes, kills, faults of the API, money, and what `sweep` finds."""

import asyncio
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import pytest
from airflow.sdk.exceptions import TaskDeferred
from evergreen.operators.train import TrainModelOperator

from include import artefact, sweeping
from include.errors import ArtefactError, BudgetError, PlatformError, PlatformRefusedError, TrainingInterruptedError
from include.ledger import Attempt, jobs, open_ledger, requests
from include.ledger.tables import now
from include.pipeline import Pipeline
from include.platforms import ordering
from include.platforms.aws import Aws
from include.platforms.base import Order
from include.policy import Compute
from include.settings import load_settings
from include.training.spec import Spec
from tests.cloud.conftest import SECRET
from tests.cloud.places import wait_for
from tests.cloud.sagemaker import SageMaker

SLOW = {"epochs": 200, "checkpoint_seconds": 0.1}


@pytest.fixture(autouse=True)
def _nothing_runs_on(sagemaker: SageMaker) -> Iterator[None]:
    yield
    sagemaker.kill_all()
    wait_for(lambda: all(job.status not in {"InProgress", "Stopping"} for job in sagemaker.jobs.values()))


def attempts(spec: Spec) -> list[Attempt]:
    with open_ledger() as session:
        return list(jobs.attempts_of(session, spec.request_id))


def order(spec: Spec, name: str) -> Order:
    return Order(name, spec, datetime.now(UTC) + timedelta(minutes=10))


def started(sagemaker: SageMaker, spec: Spec) -> list[str]:
    tag = {"Key": "evergreen:request", "Value": spec.request_id}
    return [name for name, job in sagemaker.jobs.items() if tag in job.asked["Tags"]]


def test_a_training_through_the_operator_is_paid_for_once_and_holds_no_secret(
    sagemaker: SageMaker,
    ask: Callable[..., Spec],
    objects: Callable[[], dict[str, bytes]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    spec = ask("whole")
    task = TrainModelOperator(task_id="train", pipeline_name="rides", request_id=spec.request_id)
    seen: list[bytes] = []
    sagemaker.on_create = lambda asked: seen.extend([json.dumps(asked).encode(), *objects().values()])

    with pytest.raises(TaskDeferred) as deferred:
        task.execute({})
    event = asyncio.run(anext(deferred.value.trigger.run()))
    task.resume({}, event.payload)

    (attempt,) = attempts(spec)
    assert (attempt.status, attempt.attempt) == ("succeeded", 1)
    assert attempt.seconds
    assert attempt.cost == pytest.approx(attempt.seconds / 3600 * 0.138, abs=1e-5)
    assert artefact.read_manifest(spec.folder)["request_id"] == spec.request_id
    assert not any(f"/{spec.request_id}/" in key for key in objects()), "what was sent there is removed"
    assert not spec.scratch.exists()
    told = "".join(capsys.readouterr())
    assert "Learn from" in told
    assert len(seen) > 8
    ledger = (load_settings().data / "ledger.db").read_bytes()
    assert not [held for held in (*seen, ledger, told.encode()) if SECRET.encode() in held]


def test_a_try_after_a_crash_finds_the_job_and_a_kill_stops_it(
    sagemaker: SageMaker, pipeline: Pipeline, ask: Callable[..., Spec]
) -> None:
    spec = ask("crash", **SLOW)
    ordering.order(pipeline, spec.request_id)  # its worker died before anything was submitted
    ordering.order(pipeline, spec.request_id).submit()  # and its, right after
    again = ordering.order(pipeline, spec.request_id)
    again.submit()
    assert started(sagemaker, spec) == [again.job.name]

    task = TrainModelOperator(task_id="train", pipeline_name="rides", request_id=spec.request_id)
    task._ordered = again
    task.on_kill()
    wait_for(lambda: again.platform.status(again.job).state != "running")

    cleared = ordering.order(pipeline, spec.request_id)
    assert [row.status for row in attempts(spec)] == ["stopped", "open"]
    assert attempts(spec)[0].reason.startswith("the task was killed")
    assert cleared.job.name != again.job.name


def test_a_model_that_is_not_there_any_more_ends_the_attempt(
    sagemaker: SageMaker, pipeline: Pipeline, ask: Callable[..., Spec]
) -> None:
    spec = ask("altered", model="no.such:model")
    ordered = ordering.order(pipeline, spec.request_id)
    ordered.submit()
    list(ordered.follow())
    sagemaker.jobs[ordered.job.name].status = "Completed"  # and somebody has emptied the bucket
    boto3.client("s3", region_name="eu-central-1").delete_object(
        Bucket="evergreen-test",
        Key=f"{ordered.job.detail['folder']}/output/{ordered.job.name}/output/model.tar.gz",
    )

    with pytest.raises(ArtefactError, match="there is no model any more"):
        ordered.settle()

    assert not spec.folder.exists()
    assert ordering.order(pipeline, spec.request_id).attempt.attempt == 2


def test_a_try_that_died_when_the_model_was_home_starts_nothing_and_sweep_removes_what_it_left(
    sagemaker: SageMaker,
    pipeline: Pipeline,
    ask: Callable[..., Spec],
    objects: Callable[[], dict[str, bytes]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    spec = ask("home")
    ordered = ordering.order(pipeline, spec.request_id)
    ordered.submit()
    list(ordered.follow())
    with monkeypatch.context() as patch:
        patch.setattr(Aws, "clean_up", interrupted)
        with pytest.raises(KeyboardInterrupt):
            ordered.settle()
    assert any(f"/{spec.request_id}/" in key for key in objects())

    again = ordering.order(pipeline, spec.request_id)
    again.submit()
    assert list(again.follow()) == []
    assert started(sagemaker, spec) == [ordered.job.name]
    assert sweeping.stop_overdue_jobs([]) == []
    assert not any(f"/{spec.request_id}/" in key for key in objects())
    again.settle()
    assert [row.status for row in attempts(spec)] == ["succeeded"]


def interrupted(*_: Any) -> None:
    raise KeyboardInterrupt


def test_after_two_interruptions_the_third_attempt_runs_on_demand(
    sagemaker: SageMaker, pipeline: Pipeline, ask: Callable[..., Spec]
) -> None:
    spec = ask("spot", **SLOW)
    for _ in range(2):
        ordered = ordering.order(pipeline, spec.request_id)
        ordered.submit()
        wait_for(lambda name=ordered.job.name: sagemaker.jobs[name].second == "Training")
        sagemaker.interrupt(ordered.job.name, comes_back=False)
        list(ordered.follow())
        with pytest.raises(TrainingInterruptedError, match="MaxWaitTimeExceeded"):
            ordered.settle()
    ordering.order(pipeline, spec.request_id).submit()

    asked = [sagemaker.jobs[name].asked for name in started(sagemaker, spec)]
    assert [each["EnableManagedSpotTraining"] for each in asked] == [True, True, False]
    assert "MaxWaitTimeInSeconds" not in asked[2]["StoppingCondition"]
    assert len({each["CheckpointConfig"]["S3Uri"] for each in asked}) == 1


def test_a_spot_job_that_finds_another_machine_goes_on_by_itself(
    sagemaker: SageMaker, ask: Callable[..., Spec], objects: Callable[[], dict[str, bytes]]
) -> None:
    spec, aws = ask("returns", **SLOW), Aws()
    job = aws.submit(Order("evergreen-returns-1", spec, datetime.now(UTC) + timedelta(minutes=10), is_spot=True))
    wait_for(lambda: any("/rides.hand.returns/checkpoints/" in key for key in objects()))

    sagemaker.interrupt(job.name, comes_back=True)

    lines = list(aws.follow(job))
    assert aws.status(job).state == "succeeded", lines
    assert any(line.startswith("SageMaker: Interrupted") for line in lines)
    assert any(line.startswith("Go on from step") for line in lines)


@pytest.mark.parametrize(
    ("code", "message", "error", "said"),
    [
        ("ExpiredTokenException", "The security token is expired", PlatformError, "Renew those"),
        ("AccessDeniedException", "not authorized to perform: iam:PassRole", PlatformRefusedError, "iam:PassRole"),
        ("ResourceLimitExceeded", "limit 'ml.m5.large' is 0 Instances", PlatformRefusedError, "Service Quotas"),
        ("ResourceLimitExceeded", "limit is 2 Instances, with current utilization of 2", PlatformError, "next try"),
        ("ValidationException", "Could not assume role", PlatformRefusedError, "aws.yaml"),
    ],
)
def test_what_aws_refuses_is_said_with_its_remedy_and_starts_nothing(
    sagemaker: SageMaker,
    make_spec: Callable[..., Spec],
    code: str,
    message: str,
    error: type[Exception],
    said: str,
) -> None:
    sagemaker.fail_next(code, message, action="CreateTrainingJob")

    with pytest.raises(error, match=said):
        Aws().submit(order(make_spec("rides.first.refused"), "evergreen-refused-by-aws"))

    assert "evergreen-refused-by-aws" not in sagemaker.jobs


def test_throttling_is_ridden_out_and_a_lost_answer_is_no_second_job(
    sagemaker: SageMaker, make_spec: Callable[..., Spec]
) -> None:
    spec = make_spec("rides.first.throttled", **SLOW)
    sagemaker.fail_next("ThrottlingException", "Rate exceeded", times=2)
    sagemaker.lose_next("CreateTrainingJob")
    before = sagemaker.calls.count("CreateTrainingJob")

    Aws().submit(order(spec, "evergreen-throttled-1"))

    assert sagemaker.calls.count("CreateTrainingJob") - before == 2, "the second is told that the name is taken"
    assert started(sagemaker, spec) == ["evergreen-throttled-1"]


def test_the_name_of_another_installation_s_job_is_not_taken_for_ours(
    sagemaker: SageMaker, make_spec: Callable[..., Spec]
) -> None:
    Aws().submit(order(make_spec("rides.first.theirs", **SLOW), "evergreen-theirs-1"))

    with pytest.raises(PlatformRefusedError, match="another installation's"):
        Aws().submit(order(make_spec("rides.first.ours"), "evergreen-theirs-1"))


def test_a_budget_refuses_before_anything_is_sent(
    sagemaker: SageMaker, pipeline: Pipeline, ask: Callable[..., Spec]
) -> None:
    spec = ask("dear")
    poor = pipeline.model_copy(update={"compute": Compute(budget_per_month=0.00001)})

    with pytest.raises(BudgetError, match=r"may spend 1e-05 in 30 days"):
        ordering.order(poor, spec.request_id)

    assert attempts(spec) == []
    assert started(sagemaker, spec) == []


def test_sweep_stops_what_outlived_its_lease_whether_the_ledger_knows_it_or_not(
    sagemaker: SageMaker, pipeline: Pipeline, ask: Callable[..., Spec], monkeypatch: pytest.MonkeyPatch
) -> None:
    known, lost = ask("overdue", **SLOW), None
    ordered = ordering.order(pipeline, known.request_id)
    ordered.submit()
    lost = Aws().submit(order(known.model_copy(update={"request_id": "rides.hand.lost"}), "evergreen-lost-1"))
    assert sweeping.stop_overdue_jobs(["local", "aws"]) == []

    monkeypatch.setattr(sweeping, "now", lambda: now() + timedelta(hours=3))

    assert sweeping.stop_overdue_jobs(["local", "aws"]) == sorted([ordered.job.name, lost.name])
    for job in (ordered.job, lost):
        wait_for(lambda job=job: Aws().status(job).state != "running")


def test_sweep_stops_and_closes_what_nobody_works_on_any_more(
    sagemaker: SageMaker, pipeline: Pipeline, ask: Callable[..., Spec]
) -> None:
    spec = ask("given_up", **SLOW)
    ordered = ordering.order(pipeline, spec.request_id)
    ordered.submit()
    with open_ledger() as session:
        requests.close_request(session, spec.request_id, status="failed", note="the run was deleted")

    assert sweeping.stop_overdue_jobs([]) == [ordered.job.name]
    wait_for(lambda: Aws().status(ordered.job).state != "running")
    assert sweeping.stop_overdue_jobs([]) == []

    (attempt,) = attempts(spec)
    assert (attempt.status, attempt.reason.partition(";")[0]) == ("stopped", "its request is closed")
    assert attempt.cost is not None


def test_one_platform_that_cannot_be_asked_is_told_of_and_keeps_no_other_from_being_asked(
    sagemaker: SageMaker, installation: Path
) -> None:
    sagemaker.fail_next("ExpiredTokenException", action="ListTrainingJobs")

    with pytest.raises(PlatformError, match="Renew those"):
        sweeping.stop_overdue_jobs(["aws", "local"])
