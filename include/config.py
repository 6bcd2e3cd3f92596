"""This file reads `config/pipelines/*.yaml` into pipelines, and says what is wrong with one that cannot be read."""

from functools import cache
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from include.errors import ConfigError
from include.pipeline import Pipeline
from include.settings import load_settings


def load_pipelines(folder: Path | None = None) -> list[Pipeline]:
    """Read every pipeline of the folder, sorted by name; one that cannot be read takes no other down."""
    return [found for found in _read_all(folder).values() if isinstance(found, Pipeline)]


def broken_pipelines(folder: Path | None = None) -> dict[str, str]:
    """Return, by pipeline, why a YAML of the folder cannot be read: file, key, value found and values allowed."""
    return {name: str(found) for name, found in _read_all(folder).items() if isinstance(found, ConfigError)}


def load_pipeline(name: str, folder: Path | None = None) -> Pipeline:
    """Read one pipeline by name.

    :raises ConfigError: if there is none, naming those there are.
    """
    folder = folder or load_settings().pipelines
    path = folder / f"{name}.yaml"
    if not path.exists():
        known = ", ".join(sorted(other.stem for other in folder.glob("*.yaml"))) or "none"
        raise ConfigError(f"No pipeline '{name}' in {folder}. Pipelines there: {known}.")
    return _read(path)


def pipeline_schema() -> dict[str, Any]:
    """Return the JSON schema of a pipeline's YAML, for editors."""
    schema = Pipeline.model_json_schema()
    schema["properties"].pop("name")
    schema["required"].remove("name")
    return schema


def _read_all(folder: Path | None) -> dict[str, Pipeline | ConfigError]:
    found: dict[str, Pipeline | ConfigError] = {}
    for path in sorted((folder or load_settings().pipelines).glob("*.yaml")):
        try:
            found[path.stem] = _read(path)
        except ConfigError as error:
            found[path.stem] = error
    return found


def _read(path: Path) -> Pipeline:
    return _parse(path, path.stat().st_mtime_ns)


@cache
def _parse(path: Path, _modified: int) -> Pipeline:
    try:
        content = yaml.load(path.read_text(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path.name}: not readable as YAML: {error}") from error
    if not isinstance(content, dict):
        raise ConfigError(f"{path.name}: expected keys and values at the top, found {type(content).__name__}.")
    if "name" in content:
        raise ConfigError(f"{path.name}: 'name': the file's name is the pipeline's name; remove this key.")
    try:
        return Pipeline.model_validate({**content, "name": path.stem})
    except ValidationError as error:
        raise ConfigError(_explain(path, error)) from error


def _explain(path: Path, error: ValidationError) -> str:
    lines = []
    for problem in error.errors():
        key = ".".join(str(part) for part in problem["loc"]) or "(whole file)"
        found = "" if problem["type"] in {"missing", "value_error"} else f" (got {problem['input']!r})"
        lines.append(f"{path.name}: '{key}': {problem['msg'].removeprefix('Value error, ')}{found}.")
    return "\n".join(lines)
