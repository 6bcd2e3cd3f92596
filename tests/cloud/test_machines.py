"""Trainings on several machines of SageMaker's: they find each other, make one model, and fail together."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from include import artefact
from include.accelerators import Accelerator
from include.platforms.aws import Aws
from include.platforms.base import Order
from include.training.spec import Spec
from tests.cloud.places import wait_for
from tests.cloud.sagemaker import SageMaker


def order(spec: Spec, name: str) -> Order:
    spec = spec.model_copy(update={"accelerator": Accelerator(nodes=2)})
    return Order(name, spec, datetime.now(UTC) + timedelta(minutes=10))


@pytest.mark.parametrize("framework", ["torch", "keras"])
def test_two_machines_make_one_model(
    sagemaker: SageMaker, make_spec: Callable[..., Spec], objects: Callable[[], dict[str, bytes]], framework: str
) -> None:
    aws, name = Aws(), f"evergreen-two-{framework}-1"
    asked = order(make_spec(f"rides.first.two-{framework}", framework=framework, checkpoint_seconds=0.001), name)

    job = aws.submit(asked)
    lines = list(aws.follow(job))

    assert aws.status(job).state == "succeeded", (aws.status(job), lines)
    assert sagemaker.jobs[name].asked["ResourceConfig"]["InstanceCount"] == 2
    assert sum(line.startswith("Learn from 600 rows") for line in lines) == 2, "each machine has begun"
    assert sum(line.startswith("Saved step") for line in lines) == 2, "one of them alone keeps the state"
    aws.collect(job, asked.spec)
    manifest = artefact.read_manifest(asked.spec.folder)
    assert manifest["metrics"]["auc"] > 0.6
    assert manifest["accelerator"]["nodes"] == 2


def test_where_one_machine_fails_the_job_fails_and_its_log_says_why(
    sagemaker: SageMaker, make_spec: Callable[..., Spec]
) -> None:
    spec = make_spec("rides.first.second", model="tests.cloud.breaking:explode_on_the_second")
    job = Aws().submit(order(spec, "evergreen-second-1"))

    lines = list(Aws().follow(job))

    # Its reason may be the first machine's: that the other one is gone.
    assert Aws().status(job).state == "failed", (Aws().status(job), lines)
    assert any("the second machine has no disk left" in line for line in lines), lines


def test_two_that_are_interrupted_go_on_together(
    sagemaker: SageMaker, make_spec: Callable[..., Spec], objects: Callable[[], dict[str, bytes]]
) -> None:
    asked = order(make_spec("rides.first.both", epochs=100, checkpoint_seconds=0.2), "evergreen-both-1")
    first = Aws().submit(Order(asked.name, asked.spec, asked.lease_until, is_spot=True))
    wait_for(lambda: any("rides.first.both/checkpoints/" in key for key in objects()))

    sagemaker.interrupt(first.name, comes_back=True)

    lines = list(Aws().follow(first))
    assert Aws().status(first).state == "succeeded", lines
    assert sum(line.startswith("Go on from step") for line in lines) == 2
