"""This file changes a pipeline for a replay: `--set governor.repairs.retrain=0.02`."""

from collections.abc import Iterable
from typing import Any

import yaml
from pydantic import ValidationError

from include.errors import ConfigError
from include.pipeline import Pipeline
from include.spelling import did_you_mean


def with_changes(pipeline: Pipeline, changes: Iterable[str]) -> Pipeline:
    """Return the pipeline with some of its keys set to other values, each `key.of.the.yaml=value`.

    :raises ConfigError: if a key is not there, or a value is not allowed.
    """
    content: dict[str, Any] = pipeline.model_dump()
    for change in changes:
        key, equals, value = change.partition("=")
        *path, last = key.split(".")
        place: Any = content
        for part in path:
            place = place.get(part) if isinstance(place, dict) else None
        if not equals or not isinstance(place, dict) or last not in place:
            known = place if isinstance(place, dict) else content
            raise ConfigError(
                f"--set {change}: there is no such key.{did_you_mean(last, known)} Keys: {sorted(known)}."
            )
        place[last] = yaml.safe_load(value)
    try:
        return Pipeline.model_validate(content)
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(map(str, problem["loc"]))
        raise ConfigError(f"--set: '{where}': {problem['msg']} (got {problem['input']!r}).") from error
