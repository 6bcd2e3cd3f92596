"""This file finds what the YAML names by its dotted path."""

from collections.abc import Callable
from importlib import import_module
from typing import Any

from include.errors import ConfigError


def function_at(path: str) -> Callable[..., Any]:
    """Return the function that a path such as `package.module:function` names.

    :raises ConfigError: if there is none.
    """
    module, _, name = path.partition(":")
    try:
        found: Callable[..., Any] = getattr(import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise ConfigError(
            f"'training.model' is '{path}', which cannot be imported: {error}. It names a function, `module:function`, "
            "of a module on the import path; see docs/training.md."
        ) from error
    return found
