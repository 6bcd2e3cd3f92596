"""This file reads `config/pipelines/*.yaml` into pipelines, and says what is wrong with one that cannot be read."""

import re
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from include.errors import ConfigError
from include.pipeline import Pipeline
from include.settings import load_settings
from include.sources import TELLING_KEYS
from include.spelling import did_you_mean
from include.yaml_text import parse_yaml

NAMES = "a pipeline's name, which is its file's, is 2 to 61 lower-case letters, digits, underscores; the first a letter"


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
    return _read(_path_of(name, folder))


def pipeline_named(name: str) -> str:
    """Return the name of a pipeline, also of one whose YAML cannot be read: at night it must be possible to go back.

    :raises ConfigError: if there is none, naming those there are.
    """
    return _path_of(name).stem


def pipeline_schema() -> dict[str, Any]:
    """Return the JSON schema of a pipeline's YAML, for editors."""
    schema = Pipeline.model_json_schema()
    schema["properties"].pop("name")
    schema["required"].remove("name")
    return schema


def _path_of(name: str, folder: Path | None = None) -> Path:
    folder = folder or load_settings().pipelines
    path = folder / f"{name}.yaml"
    if not path.exists():
        known = ", ".join(sorted(other.stem for other in folder.glob("*.yaml"))) or "none"
        guess = did_you_mean(name, known.split(", "))
        raise ConfigError(f"No pipeline '{name}' in {folder}. Pipelines there: {known}.{guess}")
    return path


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
        content = parse_yaml(path.read_text())
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
        # A source is one of several types; which of them was read is a part of the place, but no key of the YAML.
        place = [str(part) for part in problem["loc"] if part not in TELLING_KEYS.values()]
        key = ".".join(place) or "(whole file)"
        found = "" if problem["type"] in {"missing", "value_error"} else f" (got {problem['input']!r})"
        said = NAMES if key == "name" else problem["msg"].removeprefix("Value error, ")
        end = "" if said.endswith(("?", ".")) and not found else "."
        lines.append(f"{path.name}: '{key}': {said}{found}{end}{_guess(problem, place)}")
    return "\n".join(lines)


def _guess(problem: ErrorDetails, place: list[str]) -> str:
    """Return which key or value was meant by one that is not known."""
    match problem["type"]:
        case "extra_forbidden":
            known = _keys_beside(place)
            return f"{did_you_mean(place[-1], known)} Known there: {', '.join(known)}."
        case "literal_error" | "string_type" if isinstance(problem["input"], bool):
            remedy = "write none" if "'none'" in problem.get("ctx", {}).get("expected", "") else "quote the word"
            return f" YAML reads yes, no, on and off as true and false: {remedy}."
        case "literal_error":
            return did_you_mean(problem["input"], re.findall(r"'([^']*)'", problem["ctx"]["expected"]))
        case "source" if isinstance(problem["input"], dict):
            return next(filter(None, (did_you_mean(key, TELLING_KEYS) for key in problem["input"])), "")
    return ""


def _keys_beside(place: list[str]) -> list[str]:
    """Return the keys allowed where this one stands, by the schema."""
    schema = pipeline_schema()
    nodes = [schema]
    for part in [*place[:-1], None]:
        unfolded, nodes = nodes, []
        while unfolded:
            node = unfolded.pop()
            unfolded += [schema["$defs"][node["$ref"].rpartition("/")[2]]] if "$ref" in node else []
            unfolded += [*node.get("anyOf", []), *node.get("oneOf", [])]
            nodes.append(node)
        if part is not None:
            inner = [
                node.get("properties", {}).get(part) or node.get("items") or node.get("additionalProperties")
                for node in nodes
            ]
            nodes = [node for node in inner if node]
    return list(dict.fromkeys(key for node in nodes for key in node.get("properties", {})))
