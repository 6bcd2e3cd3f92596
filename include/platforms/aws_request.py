"""This file says what SageMaker is asked for: one training as a `CreateTrainingJob`, and what its answers mean."""

import re
from datetime import UTC, datetime
from typing import Any

from include.accelerators import Machine
from include.partition import run_key_of
from include.platforms.aws_settings import AwsSettings
from include.platforms.base import Order, State, Status
from include.platforms.meeting import meeting_of
from include.training.environment import RESOURCES
from include.training.outcome import BAD_INPUT, RESUME
from include.training.spec import Spec

ML = "/opt/ml"  # https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-training-algo-running-container.html
MODEL = "evergreen"  # the model's folder in what SageMaker packs up: the folder itself may be a mount
LEASE = "evergreen:lease"
PIPELINE = "evergreen:pipeline"


def request_folder(spec: Spec, settings: AwsSettings) -> str:
    """Return the key below which all lies that a request's jobs are sent and leave."""
    return f"{settings.prefix}/{spec.pipeline}/{run_key_of(spec.request_id)}"


def rows_folder(spec: Spec, settings: AwsSettings) -> str:
    """Return the key below which a spec's rows lie; other rows lie elsewhere."""
    return f"{request_folder(spec, settings)}/rows-{spec.fingerprint}"


def job_request(order: Order, machine: Machine, settings: AwsSettings, moment: datetime) -> dict[str, Any]:
    """Return the arguments of `create_training_job`."""
    spec, of_request = order.spec, f"s3://{settings.bucket}/{request_folder(order.spec, settings)}"
    seconds = max(1, int((order.lease_until - moment).total_seconds()))
    stopping = {"MaxRuntimeInSeconds": seconds}
    if order.is_spot:
        stopping["MaxWaitTimeInSeconds"] = seconds  # waiting for a machine is part of the lease
    return {
        "TrainingJobName": order.name,
        "AlgorithmSpecification": {
            "TrainingImage": settings.image,
            "TrainingInputMode": "File",
            "ContainerEntrypoint": ["python", "-u", "-m", "include.training"],
        },
        "RoleArn": settings.role,
        "InputDataConfig": [
            _channel("spec", f"{of_request}/{order.name}/spec/"),
            _channel("rows", f"s3://{settings.bucket}/{rows_folder(spec, settings)}/"),
        ],
        "OutputDataConfig": {
            "S3OutputPath": f"{of_request}/output",
            **({"KmsKeyId": settings.kms_key} if settings.kms_key else {}),
        },
        "ResourceConfig": {
            "InstanceType": machine.name,
            "InstanceCount": spec.accelerator.nodes,
            "VolumeSizeInGB": settings.volume_gb,
            **({"VolumeKmsKeyId": settings.volume_kms_key} if settings.volume_kms_key else {}),
        },
        "StoppingCondition": stopping,
        "EnableManagedSpotTraining": order.is_spot,
        "CheckpointConfig": {"S3Uri": f"{of_request}/checkpoints", "LocalPath": f"{ML}/checkpoints"},
        "VpcConfig": {"Subnets": settings.subnets, "SecurityGroupIds": settings.security_groups},
        # All it needs is brought to it, all it makes is fetched; several machines of one job reach each other alone:
        # https://docs.aws.amazon.com/sagemaker/latest/dg/mkt-algo-model-internet-free.html
        "EnableNetworkIsolation": True,
        "EnableInterContainerTrafficEncryption": True,
        "Environment": {**_environment(), **_places(spec)},
        "Tags": _tags(order),
    }


def status_of(described: dict[str, Any]) -> Status:
    """Return what SageMaker's description of a job means."""
    state, second = described["TrainingJobStatus"], described.get("SecondaryStatus", "")
    seconds = described.get("BillableTimeInSeconds", described.get("TrainingTimeInSeconds"))
    if state in {"InProgress", "Stopping"}:
        return Status("running", _last_message(described), seconds)
    if state == "Completed":
        return Status("succeeded", "", seconds)
    if state == "Stopped":
        if second == "MaxRuntimeExceeded":
            return Status("failed", "took longer than its lease (MaxRuntimeExceeded)", seconds)
        return Status("interrupted", f"{second}: {_last_message(described)}", seconds)
    reason = described.get("FailureReason", "")
    codes = re.findall(r"exit code: (\d+)", reason)  # SageMaker's own word comes last
    ends: dict[int, State] = {BAD_INPUT: "refused", RESUME: "interrupted"}
    return Status(ends.get(int(codes[-1]), "failed") if codes else "failed", reason, seconds)


def lease_in(tags: list[dict[str, str]]) -> tuple[str, datetime] | None:
    """Return (pipeline, end of the lease) of a job with Evergreen's mark; None without it."""
    found = {tag["Key"]: tag["Value"] for tag in tags}
    if PIPELINE not in found or LEASE not in found:
        return None
    try:
        return found[PIPELINE], datetime.fromisoformat(found[LEASE])
    except ValueError:
        return None


def _channel(name: str, uri: str) -> dict[str, Any]:
    source = {"S3DataType": "S3Prefix", "S3Uri": uri, "S3DataDistributionType": "FullyReplicated"}
    return {"ChannelName": name, "DataSource": {"S3DataSource": source}, "InputMode": "File"}


def _environment() -> dict[str, str]:
    # SageMaker's toolkit would set the first five; the image needs no toolkit.
    return {
        "SM_CHANNEL_SPEC": f"{ML}/input/data/spec",
        "SM_CHANNEL_ROWS": f"{ML}/input/data/rows",
        "SM_MODEL_DIR": f"{ML}/model/{MODEL}",
        "SM_CHECKPOINT_DIR": f"{ML}/checkpoints",
        "SM_OUTPUT_DIR": f"{ML}/output",
        "EVERGREEN_PIPELINES": f"{ML}/input/data/spec",
        "EVERGREEN_DATA": f"{ML}/output/evergreen",
        "MLFLOW_TRACKING_URI": "",  # nobody can be reached from there; `register` enters the training
    }


def _places(spec: Spec) -> dict[str, str]:
    """Return how several machines find each other; which of them it is each one reads in SageMaker's file."""
    nodes = spec.accelerator.nodes
    if nodes == 1:
        return {}
    hosts = [f"algo-{number}" for number in range(1, nodes + 1)]  # SageMaker's names
    return {RESOURCES: f"{ML}/input/config/resourceconfig.json", **meeting_of(spec.training.framework, hosts)}


def _tags(order: Order) -> list[dict[str, str]]:
    told = {
        "evergreen": order.name,
        PIPELINE: order.spec.pipeline,
        "evergreen:request": run_key_of(order.spec.request_id)[:256],
        LEASE: order.lease_until.astimezone(UTC).isoformat(timespec="seconds"),
    }
    return [{"Key": key, "Value": value} for key, value in told.items()]


def _last_message(described: dict[str, Any]) -> str:
    transitions = described.get("SecondaryStatusTransitions") or [{}]
    return str(transitions[-1].get("StatusMessage", ""))
