"""What SageMaker is asked for, and what its words mean, without a network."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import boto3
import pytest
from botocore.validate import ParamValidator

from include.accelerators import Accelerator, Machine, accelerators, machine_for, price_per_hour
from include.errors import ConfigError
from include.platforms import aws_settings
from include.platforms.aws_request import job_request, lease_in, status_of
from include.platforms.aws_settings import AwsSettings
from include.platforms.base import Order
from include.recipe import Features, Training
from include.settings import ROOT
from include.training.spec import Spec

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SETTINGS = AwsSettings(
    region="eu-central-1",
    role="arn:aws:iam::123456789012:role/evergreen",
    image="image",
    folder="s3://bucket/folder",
    subnets=["subnet-1"],
    security_groups=["sg-1"],
    kms_key="key-1",
)
MACHINE = Machine(name="ml.g5.xlarge", price_per_hour=1.5, priced_on=NOW.date())


@pytest.fixture
def order() -> Order:
    spec = Spec(
        pipeline="rides",
        request_id="rides.hand.manual__2026-01-01T00:00:00+00:00",
        reason="",
        key="id",
        date="day",
        snapshot_id="1",
        train_days=("2020-01-01", "2020-01-02"),
        holdout_days=("2020-01-03", "2020-01-04"),
        training=Training(target="late", features=Features(numeric=["x"])),
        sample_rows=10,
        folder=Path("/models/rides"),
    )
    return Order("evergreen-rides-1", spec, NOW + timedelta(hours=2), is_spot=True)


def test_the_request_is_what_the_api_takes_and_closed_to_the_world(order: Order) -> None:
    asked = job_request(order, MACHINE, SETTINGS, NOW)

    client = boto3.client("sagemaker", region_name="eu-central-1")
    shape = client.meta.service_model.operation_model("CreateTrainingJob").input_shape
    assert not ParamValidator().validate(asked, shape).has_errors()
    assert asked["EnableNetworkIsolation"]
    assert asked["EnableInterContainerTrafficEncryption"]
    assert asked["VpcConfig"] == {"Subnets": ["subnet-1"], "SecurityGroupIds": ["sg-1"]}
    assert asked["OutputDataConfig"]["KmsKeyId"] == "key-1"
    assert asked["StoppingCondition"] == {"MaxRuntimeInSeconds": 7200, "MaxWaitTimeInSeconds": 7200}
    assert lease_in(asked["Tags"]) == ("rides", order.lease_until)


def test_an_on_demand_job_waits_for_no_spot_machine(order: Order) -> None:
    asked = job_request(Order(order.name, order.spec, order.lease_until), MACHINE, SETTINGS, NOW)

    assert not asked["EnableManagedSpotTraining"]
    assert asked["StoppingCondition"] == {"MaxRuntimeInSeconds": 7200}


@pytest.mark.parametrize(
    ("described", "state", "reason"),
    [
        ({"TrainingJobStatus": "InProgress", "SecondaryStatus": "Interrupted"}, "running", ""),
        ({"TrainingJobStatus": "Stopping"}, "running", ""),
        ({"TrainingJobStatus": "Completed"}, "succeeded", ""),
        ({"TrainingJobStatus": "Stopped", "SecondaryStatus": "Stopped"}, "interrupted", "Stopped"),
        ({"TrainingJobStatus": "Stopped", "SecondaryStatus": "MaxWaitTimeExceeded"}, "interrupted", "MaxWaitTime"),
        ({"TrainingJobStatus": "Stopped", "SecondaryStatus": "MaxRuntimeExceeded"}, "failed", "longer than its lease"),
        ({"TrainingJobStatus": "Failed", "FailureReason": "AlgorithmError: x, exit code: 65"}, "refused", "x"),
        ({"TrainingJobStatus": "Failed", "FailureReason": "AlgorithmError: x, exit code: 75"}, "interrupted", "x"),
        ({"TrainingJobStatus": "Failed", "FailureReason": "'exit code: 65', exit code: 137"}, "failed", "137"),
        ({"TrainingJobStatus": "Failed", "FailureReason": "CapacityError: no machines"}, "failed", "CapacityError"),
        ({"TrainingJobStatus": "Failed"}, "failed", ""),
    ],
)
def test_sagemaker_s_words_mean_one_of_ours(described: dict[str, str], state: str, reason: str) -> None:
    found = status_of({**described, "BillableTimeInSeconds": 30, "TrainingTimeInSeconds": 90})

    assert (found.state, found.seconds) == (state, 30)
    assert reason in found.reason


@pytest.mark.parametrize("tags", [[], [{"Key": "evergreen:lease", "Value": "2026-01-01T00:00:00+00:00"}]])
def test_a_job_without_the_mark_is_not_ours(tags: list[dict[str, str]]) -> None:
    assert lease_in(tags) is None
    assert lease_in([{"Key": "evergreen:pipeline", "Value": "r"}, {"Key": "evergreen:lease", "Value": "soon"}]) is None


def test_the_shipped_settings_and_prices_are_readable() -> None:
    assert aws_settings.aws_settings().bucket == "evergreen-111122223333"
    assert aws_settings.aws_settings().prefix == "training"
    priced = [name for name, profile in accelerators().items() if "aws" in profile.machines]
    assert {"cpu", "cuda"} <= set(priced)
    for name in priced:
        assert machine_for(name, "aws").name.startswith("ml.")
        assert price_per_hour(name, "aws") > 0
        assert price_per_hour(name, "local") == 0


def test_a_profile_that_has_no_machine_there_says_what_to_add() -> None:
    with pytest.raises(ConfigError, match=r"'cpu' does not say what it runs on at 'kubernetis'\. Add `machines:"):
        machine_for("cpu", "kubernetis")


@pytest.mark.parametrize(
    ("key", "value"), [("role", "me"), ("folder", "s3://bucket/"), ("subnets", "[]"), ("rol", "x")]
)
def test_a_mistake_in_the_settings_is_named(
    key: str, value: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (ROOT / "config" / "platforms" / "aws.yaml").read_text()
    (tmp_path / "aws.yaml").write_text(
        "\n".join(line for line in text.splitlines() if not line.startswith(f"{key}:")) + f"\n{key}: {value}\n"
    )
    monkeypatch.setenv("EVERGREEN_PLATFORMS", str(tmp_path))

    with pytest.raises(ConfigError, match=rf"(?s)aws\.yaml: not readable as settings of AWS.*{key}"):
        aws_settings.aws_settings()


@pytest.mark.parametrize(
    ("framework", "told"),
    [
        ("torch", {"EVERGREEN_MEETING": "algo-1:29500"}),
        (
            "keras",
            {
                "TF_CONFIG": '{"cluster": {"worker": ["algo-1:2222", "algo-2:2222"]}, '
                '"task": {"type": "worker", "index": 0}}'
            },
        ),
    ],
)
def test_several_machines_are_asked_for_and_told_of_each_other(
    order: Order, framework: str, told: dict[str, str]
) -> None:
    training = order.spec.training.model_copy(update={"framework": framework})
    spec = order.spec.model_copy(update={"training": training, "accelerator": Accelerator(nodes=2)})

    asked = job_request(replace(order, spec=spec), MACHINE, SETTINGS, NOW)

    assert asked["ResourceConfig"]["InstanceCount"] == 2
    assert asked["EnableNetworkIsolation"], "they reach each other all the same, and nobody else"
    assert {name: asked["Environment"].get(name) for name in told} == told
    assert asked["Environment"]["EVERGREEN_RESOURCES"] == "/opt/ml/input/config/resourceconfig.json"
    assert not {"EVERGREEN_RESOURCES", *told} & set(job_request(order, MACHINE, SETTINGS, NOW)["Environment"])


def test_an_hour_of_several_machines_costs_so_many_times_one_s() -> None:
    assert price_per_hour("cuda_two_nodes", "aws") == 2 * machine_for("cuda_two_nodes", "aws").price_per_hour
