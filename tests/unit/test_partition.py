from datetime import date

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from include.partition import days_between, run_key_of


def test_both_ends_of_a_range_belong_to_it():
    assert days_between(date(2012, 2, 28), date(2012, 3, 1)) == ["2012-02-28", "2012-02-29", "2012-03-01"]
    assert days_between(date(2012, 2, 28), date(2012, 2, 28)) == ["2012-02-28"]


def test_a_range_that_ends_before_it_begins_is_refused():
    with pytest.raises(ValueError, match="swap the two dates"):
        days_between(date(2013, 1, 2), date(2013, 1, 1))


def test_a_run_of_airflow_gets_a_name_that_still_says_which_it_is():
    assert run_key_of("scheduled__2013-07-09T05:00:00+00:00") == "scheduled__2013-07-09T05-00-00-00-00"


@given(st.text(min_size=1, max_size=40))
@settings(max_examples=30, deadline=None)
def test_a_run_key_is_one_part_of_a_path_and_naming_it_again_changes_nothing(run_id):
    key = run_key_of(run_id)

    assert not set(key) & set("/\\:+ \0")
    assert run_key_of(key) == key
