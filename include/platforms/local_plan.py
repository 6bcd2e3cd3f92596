"""This file says what a training is on this machine, and looks whether it has what that needs."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil

from include.accelerators import Accelerator
from include.errors import PlatformRefusedError
from include.finding import Finding, looked_at, ok, problem, unsure
from include.places import shown
from include.platforms.base import Order, Outline
from include.training.spec import Spec

FEWEST_GB = 2.0  # of free disk: a model, its rows and checkpoints, and what cleaning spills
FRAMEWORK_SECONDS = 120.0  # to import one and have it look for devices


def outline_of(order: Order) -> Outline:
    """Return what the training is here.

    :raises PlatformRefusedError: if it wants several machines.
    """
    spec, accelerator = order.spec, order.spec.accelerator
    if accelerator.nodes > 1:
        raise PlatformRefusedError(
            f"This machine is one, and '{spec.training.accelerator}' asks for {accelerator.nodes}: name another "
            "profile in `training.accelerator`, or a platform that has several."
        )
    memory = f", {accelerator.memory_gb:g} GB at most" if accelerator.memory_gb else ""
    return Outline(
        operator="TrainModelOperator: a process, python -m include.training",
        resource=f"this machine: {_devices(accelerator)}{memory}",
        image="none: the worker's own Python",
        network="the machine's own, not fenced off",
        identity="the worker's user",
        files=f"rows from the lake; model in {shown(spec.folder)}",
        interruption="nobody takes this machine away",
        end="killed by who follows it, or by sweep",
    )


def check_machine(order: Order) -> Iterator[Finding]:
    """Yield whether this machine has the cores, memory, devices and disk."""
    spec, accelerator = order.spec, order.spec.accelerator
    yield _cores(accelerator, os.cpu_count() or 1)
    if accelerator.memory_gb:
        yield _memory(accelerator.memory_gb * accelerator.processes, psutil.virtual_memory().total / 1e9)
    if accelerator.device != "cpu":
        yield looked_at(
            "devices",
            lambda: _found_devices(spec),
            "Install the driver, or name another profile in `training.accelerator`.",
            seconds=FRAMEWORK_SECONDS,
        )
    yield looked_at(
        "models' folder",
        lambda: _written(spec.folder.parent.parent),
        "Free room there, let the workers' user write, or set EVERGREEN_DATA to another folder.",
    )


def _devices(accelerator: Accelerator) -> str:
    kind = {"cpu": "CPU", "cuda": "NVIDIA GPUs (cuda)", "tpu": "TPUs"}[accelerator.device]
    number, threads = accelerator.processes, accelerator.threads
    return f"{kind}, {number} process{'es' * (number > 1)} of {threads} thread{'s' * (threads > 1)}"


def _cores(accelerator: Accelerator, there: int) -> Finding:
    wanted = accelerator.processes * accelerator.threads
    if wanted <= there:
        return ok("cores", f"{there}, and {wanted} wanted")
    return unsure("cores", f"{there}, and {wanted} threads wanted: they take turns", "Name a smaller profile.")


def _memory(wanted: float, there: float) -> Finding:
    if wanted <= there:
        return ok("memory", f"{there:.0f} GB, and {wanted:g} allowed")
    return problem("memory", f"{there:.0f} GB, and {wanted:g} GB allowed", "Lower `memory_gb` of the profile.")


def _found_devices(spec: Spec) -> str:
    """Return how many devices the framework finds.

    :raises PlatformRefusedError: if there are too few.
    """
    wanted = spec.accelerator.processes
    if spec.training.framework == "torch" and spec.accelerator.device == "cuda":
        import torch

        found = torch.cuda.device_count()
    else:
        import tensorflow as tf

        found = len(tf.config.list_physical_devices({"cuda": "GPU", "tpu": "TPU"}[spec.accelerator.device]))
    if found < wanted:
        raise PlatformRefusedError(f"{spec.training.framework} finds {found} of {wanted} ({spec.accelerator.device}).")
    return f"{found} found by {spec.training.framework}"


def _written(folder: Path) -> str:
    """Return how much room there is where a file could be written; a folder that is not there yet is not made.

    :raises OSError: if none could, or there is too little room.
    """
    there = next(each for each in (folder, *folder.parents) if each.exists())
    with tempfile.NamedTemporaryFile(dir=there, prefix=".plan-"):
        free = shutil.disk_usage(there).free / 1e9
    if free < FEWEST_GB:
        raise OSError(f"{shown(folder)} has {free:.1f} GB left, and {FEWEST_GB:g} are needed")
    return f"{shown(folder)} can be written, {free:.0f} GB free"
