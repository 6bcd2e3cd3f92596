"""This file says what a training is on a cluster: a Job, and what belongs to it. It only makes manifests.

The Job is made suspended: its pods start once all that belongs to it is there and is owned by it, so that nothing
stays behind when the Job is removed, whoever was killed in between.
"""

import hashlib
import re
from datetime import datetime
from typing import Any

from include.errors import PlatformRefusedError
from include.platforms.base import Order
from include.platforms.kubernetes_settings import KubernetesSettings
from include.platforms.nodes import has_tpu
from include.platforms.pods import CONFIG_LIMIT, SPEC, pod_of

Manifest = dict[str, Any]

MARK = {"app.kubernetes.io/managed-by": "evergreen"}
NAME, LEASE, STORAGE = "evergreen/job", "evergreen/lease-until", "evergreen/storage"
LONGEST = 52  # a pod's host name is the Job's with a stroke and a number, and has 63 characters at most

# What a pod's end means for the Job; the number of the rule stands in the Job's condition when the pod is long gone.
# https://kubernetes.io/docs/concepts/workloads/controllers/job/#pod-failure-policy
RULES = [
    {"action": "FailJob", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
    {"action": "FailJob", "onExitCodes": {"containerName": "training", "operator": "In", "values": [65, 75]}},
]


def cluster_name(name: str) -> str:
    """Return a job's name as a cluster takes it: short, lower case, and another name's is another."""
    plain = re.sub(r"[^a-z0-9-]+", "-", name.lower()).strip("-")
    if plain == name and len(plain) <= LONGEST and plain[0].isalpha():
        return plain
    tail = hashlib.sha256(name.encode()).hexdigest()[:10]
    return f"t-{plain[: LONGEST - 13].strip('-')}-{tail}"


def job_of(order: Order, settings: KubernetesSettings, uri: str, now: datetime) -> Manifest:
    """Return the Job of an order.

    :param uri: where its input lies, and its checkpoints and model will.
    :raises PlatformRefusedError: if a cluster cannot run it.
    """
    spec, name = order.spec, cluster_name(order.name)
    nodes, machine = spec.accelerator.nodes, settings.machine(spec.training.accelerator)
    if spec.repair != "retrain":
        raise PlatformRefusedError(f"{order.name}: to {spec.repair} takes seconds and no cluster: platform `local`.")
    if nodes > 1 and has_tpu(machine):
        raise PlatformRefusedError(f"{spec.training.accelerator}: TPUs of one host alone are used; set `nodes: 1`.")
    labels = _labels(order)
    indexed = {"completionMode": "Indexed", "completions": nodes, "parallelism": nodes}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": name,
            "namespace": settings.namespace,
            "labels": labels,
            "annotations": {NAME: order.name, LEASE: order.lease_until.isoformat(), STORAGE: uri},
        },
        "spec": {
            **indexed,
            "suspend": True,
            "backoffLimit": 0,  # the ledger counts attempts
            "podFailurePolicy": {"rules": RULES},
            "activeDeadlineSeconds": max(1, round((order.lease_until - now).total_seconds())),
            "ttlSecondsAfterFinished": settings.kept_seconds,
            "template": {"metadata": {"labels": labels}, "spec": pod_of(order, settings, uri, name)},
        },
    }


def belongings_of(order: Order, settings: KubernetesSettings, job_uid: str) -> list[Manifest]:
    """Return what a Job needs besides itself: the wall around it, and for several machines the names they have."""
    name, text = cluster_name(order.name), order.spec.model_dump_json()
    metadata = {
        "name": name,
        "namespace": settings.namespace,
        "labels": _labels(order),
        "ownerReferences": [{"apiVersion": "batch/v1", "kind": "Job", "name": name, "uid": job_uid}],
    }
    found = [_wall(metadata, name, settings)]
    if order.spec.accelerator.nodes > 1:
        # Without a ready pod there would be no name, and without names none gets ready.
        spec = {"clusterIP": "None", "selector": {NAME: name}, "publishNotReadyAddresses": True}
        found.append({"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec})
    if len(text) > CONFIG_LIMIT:
        found.append({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {SPEC: text}})
    return found


def _labels(order: Order) -> dict[str, str]:
    request = hashlib.sha256(order.spec.request_id.encode()).hexdigest()[:12]
    return {
        **MARK,
        "evergreen/pipeline": order.spec.pipeline,
        "evergreen/request": request,
        NAME: cluster_name(order.name),
    }


def _wall(metadata: Manifest, name: str, settings: KubernetesSettings) -> Manifest:
    """Return the NetworkPolicy: to storage, tracking and DNS, and among the machines of one training."""
    among = {"podSelector": {"matchLabels": {NAME: name}}}
    names = {"ports": [{"port": 53, "protocol": protocol} for protocol in ("UDP", "TCP")]}
    ranges = [(each.cidr, each.port) for each in settings.egress] + list(IDENTITY[settings.flavour])
    out = [{"to": [{"ipBlock": {"cidr": cidr}}], "ports": [{"port": port, "protocol": "TCP"}]} for cidr, port in ranges]
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": metadata,
        "spec": {
            "podSelector": among["podSelector"],
            "policyTypes": ["Ingress", "Egress"],
            "ingress": [{"from": [among]}],
            "egress": [names, {"to": [among]}, *out],
        },
    }


# Where a pod asks for its service account's cloud identity: EKS Pod Identity's agent, GKE's metadata server. AKS (and
# EKS' older way) exchanges a token at the cloud's public address: `egress` must name that.
IDENTITY: dict[str, tuple[tuple[str, int], ...]] = {
    "eks": (("169.254.170.23/32", 80),),
    "aks": (),
    "gke": (("169.254.169.254/32", 80), ("169.254.169.252/32", 988)),
}
