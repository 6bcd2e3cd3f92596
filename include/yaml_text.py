"""This file reads YAML: with libyaml, several times as fast as PyYAML by itself, and saying where what is wrong."""

from typing import Any

import yaml
from yaml.constructor import ConstructorError

# PyYAML's wheels hold libyaml; one compiled without it goes on slowly.
_Fast: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def parse_yaml(text: str) -> Any:
    """Return what a YAML text holds: plain values only, as `yaml.safe_load` does, and no key twice.

    :raises yaml.YAMLError: if it is no such YAML, with the line.
    """
    try:
        return yaml.load(text, Loader=_Loader)  # noqa: S506 - a SafeLoader
    except yaml.MarkedYAMLError as error:
        raise yaml.YAMLError(_explain(error, text)) from error


class _Loader(_Fast):
    """A SafeLoader that knows the line of a value that cannot be, and takes a key once."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._flat: set[yaml.Node] = set()

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        # PyYAML lets through what Python says of an impossible date or number: without its line, and no YAMLError.
        try:
            return super().construct_object(node, deep)
        except ValueError as error:
            said = f"{node.value!r} is no {node.tag.rpartition(':')[2]}: {error}"
            raise ConstructorError(problem=said, problem_mark=node.start_mark) from error

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        if node not in self._flat:  # once: what `<<` brings into it may be there again
            self._flat.add(node)
            had = set[str]()
            for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
                if key.value in had:
                    raise ConstructorError(problem=f"the key '{key.value}' is here twice", problem_mark=key.start_mark)
                had.add(key.value)
        super().flatten_mapping(node)


def _explain(error: yaml.MarkedYAMLError, text: str) -> str:
    mark = error.problem_mark
    if mark is None:
        return str(error)
    lines = text.splitlines()
    line = lines[mark.line] if mark.line < len(lines) else ""
    said = ", ".join(part for part in (error.context, error.problem) if part)
    hint = " There is a tab in it: YAML is indented by spaces." if "\t" in line else ""
    return f"line {mark.line + 1}, column {mark.column + 1}: {said}, in `{line.strip()}`.{hint}"
