"""This file holds what every part of a pipeline's YAML is: strict and frozen."""

from pydantic import BaseModel, ConfigDict


class Strict(BaseModel):
    """Refuse unknown keys and later changes."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
