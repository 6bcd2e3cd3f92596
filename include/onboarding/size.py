"""This file fits windows and the training's steps to how much data there is. Pure."""

import math
from dataclasses import dataclass

from include.onboarding.profile import Profile

USUAL_WINDOW, LONGEST_WINDOW = 56, 365  # days
USUAL_HOLDOUT, FEWEST_HELD_OUT = 14, 300  # days; rows
WANTED_ROWS = 5_000  # a window grows until it has so many
WANTED_STEPS = 1_500  # of the optimiser
MOST_EPOCHS = 60
STEPS_PER_EPOCH, SMALLEST_BATCH, LARGEST_BATCH = 100, 32, 1024  # as training fits its batches to the rows


@dataclass(frozen=True)
class Size:
    """What depends on the number of days and rows."""

    window_days: int
    holdout_days: int
    min_rows: int
    epochs: int
    judged_rows: int  # of a day, so that its quality says something


def size_of(events: Profile) -> Size:
    """Return windows and steps that fit the days and rows there are."""
    days, per_day = len(events.days), max(events.rows_per_day, 1)
    enough_rows = math.ceil(FEWEST_HELD_OUT / per_day)
    holdout = max(1, min(max(min(USUAL_HOLDOUT, days // 5), enough_rows), days // 3))
    window = min(max(USUAL_WINDOW, math.ceil(WANTED_ROWS / per_day)), LONGEST_WINDOW)
    rows = max(min(window, days - holdout), 1) * per_day
    steps = max(min(rows / SMALLEST_BATCH, STEPS_PER_EPOCH), rows / LARGEST_BATCH, 1)
    return Size(
        window_days=window,
        holdout_days=holdout,
        min_rows=_rounded(max(1, min(1000, rows // 2))),
        epochs=max(6, min(MOST_EPOCHS, math.ceil(WANTED_STEPS / steps))),
        judged_rows=_rounded(max(1, min(300, per_day // 2))),
    )


def _rounded(number: int) -> int:
    """Return the number with two digits that count."""
    digits = 10 ** max(0, len(str(number)) - 2)
    return number // digits * digits
