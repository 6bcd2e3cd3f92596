"""This file writes down every key of a pipeline's YAML, from the types themselves: `docs/yaml.md`."""

from collections.abc import Iterator, Mapping
from types import EllipsisType
from typing import Any

from include.config import pipeline_schema

HEAD = """# Every key of `config/pipelines/<name>.yaml`

Written by `make lock` from the types in [include/pipeline.py](../include/pipeline.py),
[include/policy.py](../include/policy.py) and [include/sources.py](../include/sources.py); `make check` fails when it is
out of step. What is not marked **needed** may be left out. Unknown keys are refused.
"""

Schema = Mapping[str, Any]


def reference() -> str:
    """Return the reference as Markdown: a table per part of the YAML, in the order of the types."""
    schema = pipeline_schema()
    lines = [HEAD, "## The whole file", "", *_table(schema, schema["$defs"])]
    for name, place in _parts(schema).items():
        part = schema["$defs"][name]
        lines += ["", f'## <a id="{name.lower()}"></a>`{place}`', "", _oneline(part.get("description", "")), ""]
        lines += _table(part, schema["$defs"])
    return "\n".join(lines) + "\n"


def _parts(schema: Schema) -> dict[str, str]:
    """Return each nested type with the place in the YAML where it comes up first, those named first before theirs."""
    found: dict[str, str] = {}
    waiting = [(schema, "")]
    while waiting:
        node, place = waiting.pop(0)
        for key, value in node.get("properties", {}).items():
            for name in _names_in(value):
                if name not in found:
                    found[name] = f"{place}{key}"
                    waiting.append((schema["$defs"][name], f"{place}{key}."))
    return found


def _names_in(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        if "$ref" in value:
            yield value["$ref"].rpartition("/")[2]
        for each in value.values():
            yield from _names_in(each)
    elif isinstance(value, list):
        for each in value:
            yield from _names_in(each)


def _table(part: Schema, types: Schema) -> list[str]:
    needed = set(part.get("required", []))
    rows = ["| key | type | if left out | |", "|---|---|---|---|"]
    for key, about in part.get("properties", {}).items():
        default = "**needed**" if key in needed else _default(about)
        says = _oneline(" ".join(filter(None, (_description(about, types), _limits(about)))))
        rows.append(f"| `{key}` | {_type(about, types)} | {default} | {says} |")
    return rows


def _description(about: Schema, types: Schema) -> str:
    """Return what a key is for; of a part of its own, what that part is."""
    own = about.get("description", "")
    return own or " ".join(types[name].get("description", "") for name in _names_in(about))


def _default(about: Schema) -> str:
    match about.get("default", ...):
        case EllipsisType():  # made anew each time
            kind = "part" if "$ref" in about else str(about.get("type"))
            return {"part": "as its keys say", "array": "empty", "object": "empty"}.get(kind, "by `training.task`")
        case None:
            return "none"
        case bool(value):
            return f"`{str(value).lower()}`"
        case value:
            return f"`{value}`" if value != "" else "empty"


def _type(about: Schema, types: Schema) -> str:  # noqa: C901  one case per kind of schema
    if "$ref" in about:
        name = about["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "enum" in about:
        return " or ".join(f"`{value}`" for value in about["enum"])
    if "const" in about:
        return f"`{about['const']}`"
    options = about.get("anyOf") or about.get("oneOf")
    if options:
        return " or ".join(_type(each, types) for each in options if each.get("type") != "null")
    match about.get("type"):
        case "array":
            return f"list of {_type(about.get('items', {}), types)}"
        case "object":
            inner = about.get("additionalProperties")
            return f"name: {_type(inner, types)}" if isinstance(inner, Mapping) else "keys and values"
        case "string":
            return {"date": "date"}.get(about.get("format", ""), "text")
        case "integer":
            return "whole number"
        case "boolean":
            return "`true` or `false`"
        case kind:
            return str(kind or "anything")


def _limits(about: Schema) -> str:
    """Return the limits of a number or text in words."""
    words = {
        "minimum": "At least {}.",
        "exclusiveMinimum": "Above {}.",
        "maximum": "At most {}.",
        "pattern": "Matches `{}`.",
    }
    return " ".join(words[name].format(about[name]) for name in words if name in about)


def _oneline(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
