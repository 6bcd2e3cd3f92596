import pyarrow as pa
import pytest

from include.errors import ConfigError, NotEnoughDataError
from include.learning.binary import Binary
from include.recipe import Features
from include.scoring.job import check_range, pick, within
from include.scoring.scorer import Scorer

KNOWN = {"2020-01-01": {"a": 1}, "2020-01-03": {"b": 2, "c": 3}, "2020-01-05": {"d": 4}}
SCORER = Scorer(3, "ride_id", "day", Features(numeric=["distance"]), Binary(), b"")


def test_both_ends_of_a_range_are_scored_and_days_that_are_not_there_are_not():
    assert within(KNOWN, "2020-01-01", "2020-01-04", "rides") == dict(list(KNOWN.items())[:2])


def test_where_no_day_is_published_the_nearest_are_named():
    with pytest.raises(
        NotEnoughDataError, match=r"None of the days 2020-01-04 to 2020-01-04 .* 2020-01-03 and 2020-01-05"
    ):
        within(KNOWN, "2020-01-04", "2020-01-04", "rides")


@pytest.mark.parametrize(
    ("first", "last", "message"),
    [
        ("2020-1-1", "2020-01-02", "first '2020-1-1' is no day"),
        ("2020-01-01", "tomorrow", "last 'tomorrow' is no day"),
        ("2020-01-02", "2020-01-01", "first 2020-01-02 is after last 2020-01-01.*swap the two"),
    ],
)
def test_what_is_no_range_of_days_is_refused(first, last, message):
    with pytest.raises(ConfigError, match=message):
        check_range(first, last)


def test_only_the_columns_that_the_model_takes_are_read():
    schema = pa.schema([(name, pa.string()) for name in ("late", "distance", "ride_id", "day")])

    assert pick(schema, SCORER).names == ["ride_id", "day", "distance"]


def test_a_column_that_left_the_table_is_named():
    schema = pa.schema([(name, pa.string()) for name in ("ride_id", "day", "length")])

    with pytest.raises(ConfigError, match=r"no \['distance'\], which version 3 takes.*Columns there: \['ride_id'"):
        pick(schema, SCORER)
