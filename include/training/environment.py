"""This file is what a platform tells a training process by its environment: the spec, and its place among others.

The spec may be a file, a variable, or lie in SageMaker's folders.

SageMaker tells a container by environment variables where its folders are and what the hyper-parameters are:
https://github.com/aws/sagemaker-training-toolkit/blob/master/ENVIRONMENT_VARIABLES.md
"""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from include.errors import ConfigError
from include.training.spec import Spec, parse_spec, read_spec

VARIABLE = "EVERGREEN_SPEC"
CHANNEL = "SM_CHANNEL_SPEC"
RESOURCES = "EVERGREEN_RESOURCES"  # SageMaker's resourceconfig.json, where a training has several machines


@dataclass(frozen=True)
class Membership:
    """A process among those of one training."""

    rank: int = 0
    world: int = 1
    local_rank: int = 0  # among those of the same machine


def place_by_torchrun() -> Membership:
    """Return this process' place as PyTorch's launcher tells it; it is alone without one."""
    env = os.environ
    return Membership(int(env.get("RANK", 0)), int(env.get("WORLD_SIZE", 1)), int(env.get("LOCAL_RANK", 0)))


def place_by_tensorflow() -> Membership:
    """Return this process' place as TF_CONFIG tells it; it is alone without that."""
    config = json.loads(os.environ.get("TF_CONFIG", "{}"))
    workers = config.get("cluster", {}).get("worker", ["alone"])
    return Membership(config.get("task", {}).get("index", 0), len(workers))


@dataclass(frozen=True)
class Machines:
    """This machine among those of one training."""

    index: int = 0
    count: int = 1
    meeting: str = "localhost:0"  # host and port on the first one, where PyTorch's processes find each other


def machines() -> Machines:
    """Return this machine's place as the platform tells it; it is alone where none does."""
    env = os.environ
    index, count = int(env.get("EVERGREEN_NODE", 0)), int(env.get("EVERGREEN_NODES", 1))
    return Machines(index, count, env.get("EVERGREEN_MEETING", "localhost:0"))


def take_place() -> None:
    """Find out which of several machines this is, where SageMaker tells that in a file, and let frameworks know.

    https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-training-algo-running-container.html
    """
    env = os.environ
    if RESOURCES not in env:
        return
    told = json.loads(Path(env[RESOURCES]).read_text())
    hosts = sorted(told["hosts"], key=lambda host: int(host.rpartition("-")[2]))  # algo-10 is the tenth, not the second
    index = hosts.index(told["current_host"])
    env["EVERGREEN_NODE"], env["EVERGREEN_NODES"] = str(index), str(len(hosts))
    for library in ("GLOO", "NCCL"):  # PyTorch's: each would look for an interface by itself, and may take another one
        env[f"{library}_SOCKET_IFNAME"] = told["network_interface_name"]
    if "TF_CONFIG" in env:
        env["TF_CONFIG"] = json.dumps({**json.loads(env["TF_CONFIG"]), "task": {"type": "worker", "index": index}})


def pod() -> tuple[str, Path]:
    """Return where the storage of a training in a pod is, and the pod's own folder.

    :raises ConfigError: if this is no such pod.
    """
    env = os.environ
    try:
        return env["EVERGREEN_STORAGE"], Path(env["EVERGREEN_SCRATCH"])
    except KeyError as error:
        raise ConfigError(f"{error} is not set: include.training.pod runs in pods of platform kubernetes.") from error


def tpu() -> str | None:
    """Return the TPU's name as Google's platforms tell it; "local" for the one of this machine; None without one."""
    return os.environ.get("TPU_NAME") or ("local" if "TPU_WORKER_ID" in os.environ else None)


def find_spec(arguments: list[str]) -> Spec:
    """Return the spec: the file that is named, or what the environment holds.

    :raises ConfigError: if there is none, or it is none.
    """
    if arguments:
        return read_spec(arguments[0])
    if text := os.environ.get(VARIABLE):
        return parse_spec(text, f"${VARIABLE}")
    if folder := os.environ.get(CHANNEL):
        return _of_sagemaker(Path(folder) / "spec.json")
    raise ConfigError(
        "No spec: name a file (`python -m include.training SPEC`, written by include.training.plan), or set "
        f"{VARIABLE} to its text, or give SageMaker's channel 'spec' a spec.json."
    )


def say_why(reason: str) -> None:
    """Leave the reason of a failure where SageMaker looks for it: it becomes the job's FailureReason."""
    if folder := os.environ.get("SM_OUTPUT_DIR"):
        Path(folder).mkdir(parents=True, exist_ok=True)
        (Path(folder) / "failure").write_text(reason[:1024])


def _of_sagemaker(path: Path) -> Spec:
    take_place()
    spec, env = read_spec(path), os.environ
    changes: dict[str, Any] = {}
    if folder := env.get("SM_MODEL_DIR"):
        # The folders of all machines are packed up as one, and must not hold the same names: the first one's counts.
        changes["folder"] = Path(env["SM_OUTPUT_DIR"], "evergreen", "model") if machines().index else Path(folder)
    if folder := env.get("SM_CHECKPOINT_DIR"):
        changes["checkpoints"] = folder
    if folder := env.get("SM_CHANNEL_ROWS"):
        changes["rows"] = Path(folder)
    if hyper := json.loads(env.get("SM_HPS", "{}")):
        # SageMaker passes every value as text, the toolkit decodes what is JSON.
        changes["training"] = {**spec.training.model_dump(mode="json"), **hyper}
    return parse_spec(json.dumps({**json.loads(spec.model_dump_json()), **_plain(changes)}), "SageMaker's environment")


def _plain(changes: dict[str, Any]) -> dict[str, Any]:
    return {name: str(value) if isinstance(value, Path) else value for name, value in changes.items()}
