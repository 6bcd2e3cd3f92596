"""docs/endpoint.md is in step with what it describes."""

from typing import get_args

import pytest

from include.errors import Reason
from include.serving.limits import Limits
from include.serving.visits import Visit
from include.settings import ROOT

PAGE = (ROOT / "docs" / "endpoint.md").read_text()


@pytest.mark.parametrize("reason", get_args(Reason))
def test_every_reason_of_a_refusal_has_its_remedy(reason):
    assert f"\n| `{reason}` | " in PAGE


@pytest.mark.parametrize("limit", Limits.model_fields)
def test_every_limit_is_explained(limit):
    assert f"\n| `{limit}` | " in PAGE


@pytest.mark.parametrize("field", Visit.__dataclass_fields__)
def test_every_field_of_the_access_log_is_explained(field):
    table = PAGE.split("## The access log")[1]
    assert f"`{field}`" in table
