"""A few seeded kills in nights and trainings through a real Airflow; `make soak` does a hundred, with real flights."""

from datetime import date

import pytest

from soak.kills import installation, kill_in
from soak.trial import Story

ROWS = 200


@pytest.fixture(scope="module")
def killed(own_services, learning_rides, deliver_rides):
    """What became of three kills."""

    def deliver(data, days):
        for day in days:
            deliver_rides(data, day, ROWS)

    story = Story(
        "rides", date(2020, 1, 2), date(2020, 1, 9), deliver=deliver, rows_of=lambda days: dict.fromkeys(days, ROWS)
    )
    with installation({"rides": learning_rides("2020-01-01")}) as services:
        yield kill_in(story, *services, number=3, seed=3, seconds=900)


def test_something_was_killed(killed):
    assert killed["n"] >= 3, killed["kills"]


def test_nothing_is_lost_doubled_or_left_behind(killed):
    assert killed["findings"] == {"lost": [], "doubled": [], "disagree": [], "orphans": []}
