"""This file reads config/accelerators.yaml: what a training can run on, and what that costs."""

import os
from datetime import date
from typing import Literal

import yaml
from pydantic import Field, ValidationError

from include.errors import ConfigError
from include.settings import ROOT
from include.spelling import did_you_mean
from include.strict import Strict
from include.yaml_text import parse_yaml

PROFILES = ROOT / "config" / "accelerators.yaml"

Device = Literal["cpu", "cuda", "tpu"]


class Accelerator(Strict):
    """One profile."""

    device: Device = Field("cpu", description="cpu; cuda: NVIDIA GPUs; tpu: Google's, for Keras.")
    processes: int = Field(1, ge=1, description="Processes that share every batch; with cuda one for each GPU.")
    nodes: int = Field(1, ge=1, description="Machines with so many processes each, on a platform that has several.")
    threads: int = Field(1, ge=1, description="Threads of each process; another number may give another model.")
    memory_gb: float | None = Field(None, gt=0, description="A process that wants more is ended; none: no limit.")
    price_per_hour: float = Field(0.0, ge=0, description="Of one device.")


class Machine(Strict):
    """What a platform runs a profile on, and what it asks for that."""

    name: str = Field(description="What the platform calls this kind of machine.")
    price_per_hour: float = Field(ge=0, description="Of one whole machine, on demand.")
    priced_on: date = Field(description="The day on which the price was looked up.")


class Profile(Accelerator):
    """One profile as the file has it; what a training depends on is the accelerator alone."""

    machines: dict[str, Machine] = Field(default_factory=dict, description="Platform: what runs this profile there.")


def accelerator_named(name: str) -> Accelerator:
    """Return a profile.

    :raises ConfigError: if there is none of that name, or the file is not readable.
    """
    return Accelerator.model_validate(_profile(name).model_dump(exclude={"machines"}))


def machine_for(name: str, platform: str) -> Machine:
    """Return what a platform runs a profile on.

    :raises ConfigError: if the profile does not say it.
    """
    machines = _profile(name).machines
    if platform not in machines:
        raise ConfigError(
            f"{PROFILES.name}: the profile '{name}' does not say what it runs on at '{platform}'. Add "
            f"`machines: {{{platform}: {{name: …, price_per_hour: …, priced_on: 2026-01-31}}}}` to it, or name another "
            "profile in `training.accelerator`."
        )
    return machines[platform]


def price_per_hour(name: str, platform: str) -> float:
    """Return what an hour of a profile costs: all machines of the platform's, or here all devices.

    :raises ConfigError: if nobody has said what the platform asks for it.
    """
    profile = _profile(name)
    if platform != "local":
        return machine_for(name, platform).price_per_hour * profile.nodes
    return profile.price_per_hour * profile.processes


def _profile(name: str) -> Profile:
    found = accelerators()
    if name not in found:
        raise ConfigError(
            f"{PROFILES.name} has no profile '{name}'. Profiles there: {', '.join(found)}.{did_you_mean(name, found)}"
        )
    return found[name]


def accelerators() -> dict[str, Profile]:
    """Return all profiles by name.

    :raises ConfigError: if the file is not readable, saying where.
    """
    try:
        content = parse_yaml(PROFILES.read_text())
        return {name: Profile.model_validate(profile) for name, profile in content.items()}
    except (OSError, AttributeError, yaml.YAMLError, ValidationError) as error:
        raise ConfigError(f"{PROFILES}: not readable as accelerator profiles: {error}") from error


def use(accelerator: Accelerator) -> None:
    """Let this process, before it imports a framework, use what the profile says and nothing else."""
    if accelerator.device == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = str(accelerator.threads)
