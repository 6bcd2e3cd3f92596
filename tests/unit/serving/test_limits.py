import pytest

from include.errors import ConfigError
from include.serving import limits
from include.serving.limits import Limits, endpoint_limits


@pytest.fixture
def read(tmp_path, monkeypatch):
    def as_file(text):
        monkeypatch.setattr(limits, "FILE", tmp_path / "endpoint.yaml")
        limits.FILE.write_text(text)
        return endpoint_limits.__wrapped__()

    return as_file


def test_the_file_that_comes_along_says_the_defaults():
    assert endpoint_limits() == Limits()


def test_what_a_file_leaves_out_is_as_before(read):
    assert read("rows: 5") == Limits(rows=5)


@pytest.mark.parametrize("text", ["rows: 0", "row: 5", "rows: many", "rows: [", "- 5"])
def test_a_file_that_cannot_be_is_refused_with_its_place(read, text):
    with pytest.raises(ConfigError, match=r"endpoint\.yaml: not readable as the endpoint's limits"):
        read(text)
