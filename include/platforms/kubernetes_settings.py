"""This file reads config/platforms/kubernetes.yaml: the cluster, the image, and the machines of each accelerator."""

from typing import Literal
from urllib.parse import urlsplit

import yaml
from pydantic import Field, ValidationError, field_validator

from include.errors import ConfigError
from include.settings import load_settings
from include.spelling import did_you_mean
from include.strict import Strict
from include.yaml_text import parse_yaml

FILE = "kubernetes.yaml"

Flavour = Literal["eks", "aks", "gke"]


class Machine(Strict):
    """What one pod of a training asks for."""

    cpu: str = Field("1", description="CPUs that it has for sure.")
    memory: str = Field("4Gi", description="It has so much, and is ended when it wants more.")
    shared_memory: str = Field("1Gi", description="Of /dev/shm, which counts as memory.")
    scratch: str = Field("20Gi", description="Disk for rows and the model while it trains.")
    devices: dict[str, int] = Field({}, description="nvidia.com/gpu, nvidia.com/mig-…, google.com/tpu: how many.")
    node_selector: dict[str, str] = Field({}, description="Labels of the nodes it may run on.")


class Egress(Strict):
    """An address range that a training may talk to."""

    cidr: str
    port: int = 443


class KubernetesSettings(Strict):
    """A cluster, and how trainings run there."""

    flavour: Flavour = Field(description="What spot machines are called there.")
    namespace: str
    image: str = Field(description="Dockerfile's target `train`, by digest or version.")
    service_account: str = Field(description="Whose cloud identity may read and write the storage.")
    storage: str = Field(description="URI that Airflow's workers and the pods read and write: s3://, gs://, abfs://.")
    kubeconfig: str | None = Field(None, description="File; none: in the cluster, its own; else kubectl's.")
    context: str | None = Field(None, description="Of the kubeconfig; none: its current one.")
    tracking_url: str = Field(description="MLflow as the pods reach it; where it is away, `register` tells it later.")
    secrets: list[str] = Field([], description="Secrets of the namespace whose keys the pods get as variables.")
    egress: list[Egress] = Field(description="Storage and tracking; nothing else but DNS can be reached.")
    priority_class: str | None = Field(None, description="Which pods may push these aside, and the other way round.")
    grace_seconds: int = Field(25, ge=1, description="From the notice to the kill; spot machines give 25 s or more.")
    kept_seconds: int = Field(86_400, ge=3600, description="After its end a job can be looked at for so long.")
    poll_seconds: float = Field(5.0, gt=0, description="How often a job is looked at while it is waited for.")
    machines: dict[str, Machine] = Field(description="By profile of config/accelerators.yaml.")

    @field_validator("tracking_url", "storage")
    @classmethod
    def _without_password(cls, url: str) -> str:
        if urlsplit(url).password:
            raise ValueError("holds a password, which a manifest would show: put it in a Secret and name that")
        return url

    def machine(self, profile: str) -> Machine:
        """Return what a pod of an accelerator's profile asks for.

        :raises ConfigError: if nothing is said of that profile.
        """
        if profile not in self.machines:
            known = ", ".join(self.machines)
            raise ConfigError(
                f"{FILE}: `machines` has no '{profile}', the accelerator that is asked for. There: {known}."
                f"{did_you_mean(profile, self.machines)}"
            )
        return self.machines[profile]


def load_kubernetes_settings() -> KubernetesSettings:
    """Read the settings.

    :raises ConfigError: saying what in the file is not usable.
    """
    path = load_settings().platforms / FILE
    try:
        return KubernetesSettings.model_validate(parse_yaml(path.read_text()))
    except (OSError, yaml.YAMLError, ValidationError) as error:
        raise ConfigError(f"{path}: not readable as the platform kubernetes: {error}") from error
