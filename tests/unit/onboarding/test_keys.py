import pyarrow as pa
import pytest

from include.errors import ConfigError
from include.onboarding.keys import day_of, key_of, label_key_of
from tests.unit.onboarding.conftest import DAYS, profile_of


def test_the_key_is_the_column_named_like_one_that_differs_in_every_row(shop):
    assert key_of(None, shop) == ("order_id", "guessed: different in all 400 sampled rows; so are comment")


def test_a_key_that_came_twice_is_still_a_key():
    key, note = key_of(None, profile_of({DAYS[0]: {"order_id": [*range(199), 7], "a": [1] * 200}}))

    assert key == "order_id"
    assert "1 of 200 sampled rows repeat one" in note


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"shop": ["a", "b", "a"], "hour": [1, 1, 2]}, "No column names each row once: the nearest is 'shop'"),
        ({"x": [0.5, 1.5, 2.5]}, "A row's number in the file is no key"),
    ],
)
def test_without_a_key_the_message_says_what_to_have_delivered(columns, said):
    with pytest.raises(ConfigError, match=said):
        key_of(None, profile_of({DAYS[0]: columns}))


def test_a_counter_that_starts_over_every_day_is_named():
    days = {day: {"row": [1, 2, 3], "x": [1, 1, 1]} for day in DAYS[:2]}

    with pytest.raises(ConfigError, match="'row' starts over every day: put the day in front of it"):
        key_of(None, profile_of(days))


def test_a_key_asked_for_has_to_be_one(shop):
    assert key_of("comment", shop)[0] == "comment"
    with pytest.raises(ConfigError, match="'channel' is no key: 400 sampled rows have 3 different values"):
        key_of("channel", shop)
    with pytest.raises(ConfigError, match="Did you mean 'order_id'"):
        key_of("orderid", shop)


def test_the_day_is_the_column_that_holds_it_or_else_the_files_own(shop):
    assert day_of(None, shop)[0] == "bought_on"
    assert day_of(None, profile_of({DAYS[0]: {"a": [1, 2]}}))[0] == "day"
    assert day_of(None, profile_of({DAYS[0]: {"day": [1, 2]}}))[0] == "delivery_day"
    with pytest.raises(ConfigError, match="'bought_at' .* does not hold the day of its file"):
        day_of("bought_at", shop)


def test_labels_are_matched_by_the_same_name_or_by_the_same_values():
    events = pa.table({"order_id": pa.chunked_array([["a", "b", "c"]])})

    assert (
        label_key_of("order_id", "string", events, pa.table({"paid": ["1", "0"], "order_id": ["a", "b"]})) == "order_id"
    )
    assert label_key_of("order_id", "string", events, pa.table({"paid": ["1", "0"], "ref": ["a", "b"]})) == "ref"
    with pytest.raises(ConfigError, match="The labels have no column with the events' key 'order_id'"):
        label_key_of("order_id", "string", events, pa.table({"paid": ["1", "0"], "ref": ["x", "y"]}))
