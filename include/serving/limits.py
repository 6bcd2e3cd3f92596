"""This file reads config/endpoint.yaml: how much one request may take of the endpoint."""

from functools import cache

import yaml
from pydantic import Field, ValidationError

from include.errors import ConfigError
from include.settings import ROOT
from include.strict import Strict
from include.yaml_text import parse_yaml

FILE = ROOT / "config" / "endpoint.yaml"


class Limits(Strict):
    """What one request may take; a larger or slower one is refused (docs/endpoint.md)."""

    body_bytes: int = Field(16 * 2**20, ge=1)
    body_seconds: float = Field(30.0, gt=0)
    rows: int = Field(10_000, ge=1)
    compute_seconds: float = Field(30.0, gt=0)
    large_at_once: int = Field(8, ge=1)
    access_log_mb: int = Field(30, ge=0)


@cache
def endpoint_limits() -> Limits:
    """Return the limits of this installation, read once.

    :raises ConfigError: if the file is not readable, saying where.
    """
    try:
        return Limits.model_validate(parse_yaml(FILE.read_text()))
    except (OSError, yaml.YAMLError, ValidationError) as error:
        raise ConfigError(f"{FILE}: not readable as the endpoint's limits: {error}") from error
