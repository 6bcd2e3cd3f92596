"""This file says in words what a cluster would be asked for."""

from include.platforms.base import Outline
from include.platforms.manifests import STORAGE, Manifest
from include.platforms.nodes import SPOT

SPOT_LABELS = set(SPOT.values())


def outline_of(job: Manifest, belongings: list[Manifest]) -> Outline:
    """Return what a Job and what belongs to it mean."""
    pod = job["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    number, namespace = job["spec"]["completions"], job["metadata"]["namespace"]
    kinds = ", ".join(each["kind"] for each in (job, *belongings))
    spot = SPOT_LABELS & set(pod["nodeSelector"].items())
    return Outline(
        operator=f"TrainModelOperator: {kinds} in the namespace {namespace}",
        resource=f"{number} pod{'s, each' * (number > 1)}: {_machine(container, pod, spot)}",
        image=container["image"],
        network=f"{', '.join(_ways_out(belongings[0]))}; else only its own pods",
        identity=f"service account {pod['serviceAccountName']}, user {pod['securityContext']['runAsUser']}, "
        "no token of the cluster",
        files=job["metadata"]["annotations"][STORAGE].rpartition("/")[0],
        interruption="".join(f"nodes of {label}={value}" for label, value in spot)
        or "on demand: nodes that are not spot",
        end="ended by the cluster (activeDeadlineSeconds), or by sweep",
    )


def _machine(container: Manifest, pod: Manifest, spot: set[tuple[str, str]]) -> str:
    """Return what a pod asks for, and the labels of the nodes it may run on."""
    wanted, most = container["resources"]["requests"], container["resources"]["limits"]
    devices = [f"{number} {device}" for device, number in most.items() if device != "memory"]
    labels = [f"{key}={value}" for key, value in pod["nodeSelector"].items() if (key, value) not in spot]
    told = [f"{wanted['cpu']} CPU", f"{most['memory']} memory", *devices]
    return ", ".join(told) + (f"; nodes of {', '.join(labels)}" if labels else "")


def _ways_out(wall: Manifest) -> list[str]:
    """Return where a NetworkPolicy lets pods go, beside each other."""
    found = []
    for rule in wall["spec"]["egress"]:
        for port in dict.fromkeys(each["port"] for each in rule.get("ports", [])):
            found += [f"{each['ipBlock']['cidr']}:{port}" for each in rule.get("to", [])] or [f"DNS:{port}"]
    return found
