from dataclasses import replace

import pytest

from include.onboarding.profile import Profile
from include.onboarding.size import size_of


def events(days: int, rows: int) -> Profile:
    names = tuple(f"{number:04}" for number in range(days))
    return Profile(days=names, rows_by_day=dict.fromkeys(names, rows), columns={})


@pytest.mark.parametrize(
    ("days", "rows", "window", "holdout"),
    [(365, 1000, 56, 14), (10, 1000, 56, 2), (40, 20, 250, 13), (365, 24, 209, 14), (1, 100, 56, 1)],
)
def test_windows_fit_the_days_and_the_rows(days, rows, window, holdout):
    size = size_of(events(days, rows))

    assert (size.window_days, size.holdout_days) == (window, holdout)


def test_fewer_rows_are_looked_at_more_often():
    few, some, many = (size_of(events(*each)).epochs for each in ((12, 100), (20, 1000), (100, 10_000)))

    assert few > some > many == 6


def test_a_first_training_is_possible_with_what_is_there():
    for days, rows in ((2, 3), (12, 100), (40, 20), (365, 24)):
        size = size_of(events(days, rows))
        assert size.min_rows <= (days - size.holdout_days) * rows
        assert size.judged_rows <= rows


def test_an_uneven_day_does_not_decide():
    usual = events(20, 500)
    uneven = replace(usual, rows_by_day={**usual.rows_by_day, "0000": 3})

    assert size_of(uneven) == size_of(usual)
