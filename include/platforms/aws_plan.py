"""This file says in words what SageMaker would be asked for."""

from typing import Any

from include.platforms.base import Outline


def outline_of(request: dict[str, Any]) -> Outline:
    """Return what a request for a training job means."""
    machines, walls = request["ResourceConfig"], request["VpcConfig"]
    folder, key = request["OutputDataConfig"]["S3OutputPath"].rpartition("/")[0], _key(request)
    isolated = "the container reaches nobody; " if request["EnableNetworkIsolation"] else ""
    return Outline(
        operator="TrainModelOperator: a SageMaker training job",
        resource=f"{machines['InstanceCount']} × {machines['InstanceType']}, {machines['VolumeSizeInGB']} GB volume",
        image=request["AlgorithmSpecification"]["TrainingImage"],
        network=f"{isolated}files come through {', '.join(walls['Subnets'] + walls['SecurityGroupIds'])}",
        identity=request["RoleArn"],
        files=f"{folder}, {key}",
        interruption="managed spot training, checkpoints on S3"
        if request["EnableManagedSpotTraining"]
        else "on demand, nobody takes it away",
        end="stopped by SageMaker (MaxRuntimeInSeconds), or by sweep",
    )


def _key(request: dict[str, Any]) -> str:
    key = request["OutputDataConfig"].get("KmsKeyId")
    return f"sealed with {key}" if key else "the bucket's own key"
