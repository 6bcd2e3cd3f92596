"""This file says how the machines of one training find each other, whichever platform names them."""

import json

MEETING, WORKER = 29500, 2222  # ports: PyTorch's usual one, and TensorFlow's


def meeting_of(framework: str, hosts: list[str]) -> dict[str, str]:
    """Return what every machine of a training is told alike; TF_CONFIG lacks the number of the one that reads it.

    :param hosts: their names, the first machine's first.
    """
    if framework == "torch":
        return {"EVERGREEN_MEETING": f"{hosts[0]}:{MEETING}"}
    cluster = {"worker": [f"{host}:{WORKER}" for host in hosts]}
    return {"TF_CONFIG": json.dumps({"cluster": cluster, "task": {"type": "worker", "index": 0}})}
