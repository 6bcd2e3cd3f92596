import pytest

from include.errors import BadDeliveryError
from include.ingestion.repairs import read_repair


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(BadDeliveryError, match=r"nope\.csv: there is no such file"):
        read_repair(tmp_path / "nope.csv")
