"""This file says what runs in a training's pods: one container that may do little, and what it is told."""

from typing import Any

from include.platforms.base import Order
from include.platforms.kubernetes_settings import KubernetesSettings, Machine
from include.platforms.meeting import meeting_of
from include.platforms.nodes import placement

SPEC = "spec.json"
CONFIG = "/etc/evergreen"
SCRATCH = "/scratch"
CONFIG_LIMIT = 60_000  # characters; Linux takes 131,072 bytes in one variable, and a list of manifests stays readable
USER = 10001  # Dockerfile's

Manifest = dict[str, Any]


def pod_of(order: Order, settings: KubernetesSettings, uri: str, name: str) -> Manifest:
    """Return the spec of each pod of a Job.

    :param name: the Job's, and that of its Service if it has several pods.
    """
    spec = order.spec
    machine = settings.machine(spec.training.accelerator)
    is_large = len(spec.model_dump_json()) > CONFIG_LIMIT
    mounts = {"scratch": SCRATCH, "shm": "/dev/shm", **({"spec": CONFIG} if is_large else {})}  # noqa: S108
    volumes: list[Manifest] = [
        {"name": "scratch", "emptyDir": {"sizeLimit": machine.scratch}},
        {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": machine.shared_memory}},
    ]
    if is_large:
        volumes.append({"name": "spec", "configMap": {"name": name}})
    container = {
        "name": "training",
        "image": settings.image,
        "command": ["python", "-u", "-m", "include.training.pod", *([f"{CONFIG}/{SPEC}"] if is_large else [])],
        "env": [*_told(order, settings, uri, is_large=is_large), *_places(order, name)],
        "envFrom": [{"secretRef": {"name": secret}} for secret in settings.secrets],
        "resources": _resources(machine),
        "volumeMounts": [{"name": volume, "mountPath": path} for volume, path in mounts.items()],
        "terminationMessagePolicy": "FallbackToLogsOnError",  # the last lines say why
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
    }
    found: Manifest = {
        "restartPolicy": "Never",
        "serviceAccountName": settings.service_account,
        "automountServiceAccountToken": False,  # a training does not talk to the cluster
        "terminationGracePeriodSeconds": settings.grace_seconds,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container],
        "volumes": volumes,
        **placement(machine, settings.flavour, is_spot=order.is_spot),
    }
    if spec.accelerator.nodes > 1:
        found["subdomain"] = name
    if settings.priority_class:
        found["priorityClassName"] = settings.priority_class
    return found


def _resources(machine: Machine) -> Manifest:
    memory = {"memory": machine.memory}
    # CPUs that nobody else wants are used; memory is what was asked for, no more.
    return {"requests": {"cpu": machine.cpu, **memory}, "limits": {**memory, **_counts(machine)}}


def _counts(machine: Machine) -> dict[str, str]:
    return {device: str(number) for device, number in machine.devices.items()}


def _told(order: Order, settings: KubernetesSettings, uri: str, *, is_large: bool) -> list[Manifest]:
    told = {
        "EVERGREEN_STORAGE": uri,
        "EVERGREEN_SCRATCH": SCRATCH,
        "EVERGREEN_DATA": f"{SCRATCH}/data",
        "HOME": SCRATCH,  # all else is read-only
        "TMPDIR": SCRATCH,
        "MLFLOW_TRACKING_URI": settings.tracking_url,
    }
    if not is_large:
        # Kubernetes reads $(NAME) as a variable and $$ as a stroke of it.
        told["EVERGREEN_SPEC"] = order.spec.model_dump_json().replace("$", "$$")
    return [{"name": name, "value": value} for name, value in told.items()]


def _places(order: Order, name: str) -> list[Manifest]:
    """Return how each of several machines knows which one it is and where the others are."""
    nodes = order.spec.accelerator.nodes
    if nodes == 1:
        return []
    index = {"fieldRef": {"fieldPath": "metadata.annotations['batch.kubernetes.io/job-completion-index']"}}
    found: list[Manifest] = [
        {"name": "EVERGREEN_NODE", "valueFrom": index},
        {"name": "EVERGREEN_NODES", "value": str(nodes)},
    ]
    hosts = [f"{name}-{number}.{name}" for number in range(nodes)]
    for variable, told in meeting_of(order.spec.training.framework, hosts).items():
        # Kubernetes puts the number in: the manifest is the same for all pods.
        found.append({"name": variable, "value": told.replace('"index": 0', '"index": $(EVERGREEN_NODE)')})
    return found
