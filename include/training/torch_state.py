"""This file turns what a PyTorch training holds into arrays that a checkpoint keeps, and back."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from include.training.checkpoint import Checkpoint

Arrays = dict[str, npt.NDArray[Any]]


def array_of(value: Tensor) -> npt.NDArray[Any]:
    """Return a tensor as an array."""
    array: npt.NDArray[Any] = value.detach().cpu().numpy()
    return array


def arrays_of(network: nn.Module, optimizer: Optimizer, best: Mapping[str, Tensor]) -> Arrays:
    """Return weights, the optimiser's memory and the best weights so far."""
    arrays = {f"model/{name}": array_of(value) for name, value in network.state_dict().items()}
    arrays |= {f"best/{name}": array_of(value) for name, value in best.items()}
    for number, values in optimizer.state_dict()["state"].items():
        arrays |= {f"optimizer/{number}/{name}": array_of(value) for name, value in values.items()}
    return arrays


def restore(found: Checkpoint, network: nn.Module, optimizer: Optimizer, groups: list[dict[str, Any]]) -> None:
    """Put weights and the optimiser's memory back.

    :param groups: the optimiser's settings, as they were when the checkpoint was written.
    """
    network.load_state_dict(tensors(found.under("model")))
    values: dict[int, dict[str, Tensor]] = {}
    for name, array in found.under("optimizer").items():
        number, _, what = name.partition("/")
        values.setdefault(int(number), {})[what] = torch.from_numpy(array)
    optimizer.load_state_dict({"state": values, "param_groups": groups})


def tensors(arrays: Mapping[str, npt.NDArray[Any]]) -> dict[str, Tensor]:
    """Return arrays as tensors."""
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


def chance(device: torch.device) -> Arrays:
    """Return the state of the generators of random numbers."""
    state: Arrays = {"cpu": np.array(torch.get_rng_state().numpy())}
    if device.type == "cuda":
        state["cuda"] = torch.cuda.get_rng_state(device).numpy()
    return state


def restore_chance(state: Mapping[str, npt.NDArray[Any]], device: torch.device) -> None:
    """Let random numbers go on where they were."""
    torch.set_rng_state(torch.from_numpy(state["cpu"]))
    if "cuda" in state:
        torch.cuda.set_rng_state(torch.from_numpy(state["cuda"]), device)
