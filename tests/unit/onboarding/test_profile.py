import pytest

from include.onboarding.profile import sample_of
from tests.unit.onboarding.conftest import DAYS, ROWS, profile_of


@pytest.mark.parametrize(
    ("column", "kind"),
    [
        ("order_id", "string"),
        ("number", "bigint"),
        ("bought_on", "date"),
        ("bought_at", "timestamp"),
        ("amount", "double"),
        ("temperature", "bigint"),
        ("zip", "string"),
        ("Is gift?", "boolean"),
    ],
)
def test_a_columns_kind_is_seen_in_its_text(shop, column, kind):
    assert shop.columns[column].kind == kind


def test_na_among_numbers_is_a_missing_value_and_not_a_text(shop):
    temperature = shop.columns["temperature"]

    assert temperature.markers == ("NA",)
    assert temperature.missing_share == pytest.approx(0.1)
    assert (temperature.low, temperature.high) == (-19, 19)


def test_na_among_texts_stays_a_text():
    column = profile_of({DAYS[0]: {"code": ["NA", "DE", "FR"]}}).columns["code"]

    assert (column.markers, column.missing, column.distinct) == ((), 0, 3)


def test_one_strange_value_in_a_hundred_does_not_make_a_column_text():
    column = profile_of({DAYS[0]: {"n": [*range(150), "lots"]}}).columns["n"]

    assert (column.kind, column.strange) == ("bigint", ("lots",))


def test_keys_days_and_counters_are_told_apart(shop):
    assert [name for name, column in shop.columns.items() if column.is_key] == ["order_id", "comment"]
    assert shop.own_day == ("bought_on",)
    assert shop.within_day == ("bought_at",)
    assert "number" in shop.unique_by_day


def test_rows_gaps_and_values_are_counted(shop):
    assert (shop.rows, shop.rows_per_day) == (10 * ROWS, ROWS)
    assert shop.columns["country"].is_constant
    assert dict(shop.columns["Is gift?"].values) == {"true": 200, "false": 200}


def test_an_empty_column_has_no_values():
    column = profile_of({DAYS[0]: {"a": [1, 2], "b": [None, None]}}).columns["b"]

    assert (column.distinct, column.missing_share, column.most_missing) == (0, 1.0, 1.0)


def test_lines_that_are_no_rows_are_counted_apart():
    found = profile_of({DAYS[0]: {"a": ["1", "2,3"], "b": ["x", "y"]}})

    assert (found.malformed, found.columns["a"].distinct) == (1, 1)


def test_the_sample_holds_the_oldest_and_the_newest_day_and_is_bounded():
    days = [f"day {number:03}" for number in range(365)]
    sample = sample_of(days)

    assert (sample[0], sample[-1], len(sample)) == ("day 000", "day 364", 12)
    assert sample_of(days[:5]) == days[:5]
