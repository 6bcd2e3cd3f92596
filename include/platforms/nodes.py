"""This file says on which nodes of a cluster a training's pods may run: its devices', spot ones or others."""

from typing import Any

from include.platforms.kubernetes_settings import Flavour, Machine

# Providers keep other pods off such nodes by a taint of the device's name.
# https://docs.cloud.google.com/kubernetes-engine/docs/how-to/gpus, …/how-to/tpus; NVIDIA's device plugin does the same.
TAINTED = {"nvidia.com/": "nvidia.com/gpu", "google.com/tpu": "google.com/tpu"}

# https://karpenter.sh/docs/concepts/scheduling/, https://learn.microsoft.com/azure/aks/spot-node-pool,
# https://docs.cloud.google.com/kubernetes-engine/docs/concepts/spot-vms
SPOT: dict[Flavour, tuple[str, str]] = {
    "eks": ("karpenter.sh/capacity-type", "spot"),
    "aks": ("kubernetes.azure.com/scalesetpriority", "spot"),
    "gke": ("cloud.google.com/gke-spot", "true"),
}


def placement(machine: Machine, flavour: Flavour, *, is_spot: bool) -> dict[str, Any]:
    """Return the part of a pod's spec that says where it may run."""
    label, value = SPOT[flavour]
    tolerated = [{"key": taint, "operator": "Exists", "effect": "NoSchedule"} for taint in _taints(machine)]
    if is_spot:
        tolerated.append({"key": label, "operator": "Equal", "value": value, "effect": "NoSchedule"})
        return {"nodeSelector": {**machine.node_selector, label: value}, "tolerations": tolerated}
    other = {"matchExpressions": [{"key": label, "operator": "NotIn", "values": [value]}]}
    required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [other]}}
    return {
        "nodeSelector": machine.node_selector,
        "affinity": {"nodeAffinity": required},
        "tolerations": tolerated,
    }


def has_tpu(machine: Machine) -> bool:
    """Tell whether a machine is one of Google's TPUs."""
    return "google.com/tpu" in machine.devices


def _taints(machine: Machine) -> list[str]:
    found = [TAINTED[prefix] for device in machine.devices for prefix in TAINTED if device.startswith(prefix)]
    return list(dict.fromkeys(found))
