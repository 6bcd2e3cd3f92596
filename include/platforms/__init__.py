"""Platforms: where a training's job runs. One small file each behind `base.py`, and a line here."""

from importlib import import_module
from typing import TYPE_CHECKING

from include.errors import ConfigError

if TYPE_CHECKING:
    from include.platforms.base import Platform

PLATFORMS = {
    "local": "include.platforms.local:Local",
    "aws": "include.platforms.aws:Aws",
    "kubernetes": "include.platforms.kubernetes:Kubernetes",
}


def platform_named(name: str) -> "Platform":
    """Return a platform, ready for use; its settings are read now.

    :raises ConfigError: if there is none of that name, or its settings are not usable.
    """
    if name not in PLATFORMS:
        raise ConfigError(f"There is no platform '{name}'. Platforms there: {', '.join(PLATFORMS)}.")
    module, _, kind = PLATFORMS[name].partition(":")
    found: Platform = getattr(import_module(module), kind)()
    return found
