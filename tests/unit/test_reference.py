from pathlib import Path

import pytest

from include.config import pipeline_schema
from include.reference import reference

ROOT = Path(__file__).resolve().parents[2]
SCHEMA = pipeline_schema()
PARTS = {"the whole file": SCHEMA, **SCHEMA["$defs"]}


@pytest.mark.parametrize("part", PARTS)
def test_every_key_is_named_with_its_type_and_says_what_it_is_for(part):
    lines = {line.split("`")[1]: line.split(" | ") for line in reference().splitlines() if line.startswith("| `")}

    for key in PARTS[part].get("properties", {}):
        _, kind, default, says = lines[key]
        assert all((kind, default)), f"{part}: '{key}' has no type or default in docs/yaml.md"
        assert says.strip(" |"), f"{part}: '{key}' has no description: give its Field one"


def test_the_reference_in_the_repository_is_the_types_own():
    assert (ROOT / "docs" / "yaml.md").read_text() == reference(), "run `make lock`"
