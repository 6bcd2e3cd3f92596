"""This file finds the code that trains in a framework, without importing any other."""

from importlib import import_module
from typing import Any

from include.recipe import Framework

_TRAINERS: dict[Framework, str] = {
    "torch": "include.training.torch_trainer",
    "keras": "include.training.keras_trainer",
}


def framework(name: Framework) -> Any:
    """Return the module that trains in a framework: `make_deterministic`, `process_group`, `build`, `version`."""
    return import_module(_TRAINERS[name])
