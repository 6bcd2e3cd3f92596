"""This file reads YAML with libyaml, several times as fast as PyYAML by itself."""

from typing import Any

import yaml


def parse_yaml(text: str) -> Any:
    """Return what a YAML text holds: plain values only, as `yaml.safe_load` does.

    :raises yaml.YAMLError: if it is no YAML, saying where.
    """
    # PyYAML's wheels hold libyaml; one compiled without it goes on slowly.
    return yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506
