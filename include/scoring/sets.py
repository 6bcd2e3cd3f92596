"""This file puts scored days where their readers look: a day's set of answers is the old one or the new one, whole."""

from collections.abc import Mapping
from pathlib import Path

import pyarrow.parquet as pq

from include import captures
from include.errors import PublishError
from include.learning.task import PREDICTION
from include.scoring.answers import PARTITION

SCORES = "scores.parquet"


def put_in_place(pipeline_name: str, aside: Path, folder: Path, days: Mapping[str, int]) -> int:
    """Move each day's file from aside into its folder, over the one before, and return how many rows have no answer.

    Killed between two days, it leaves old sets and new ones, none half; another run brings all to the new.

    :param days: how many rows each must have.
    :raises PublishError: if a day has other rows than the clean table; then nothing is moved.
    """
    found = {day: sorted((aside / f"{PARTITION}={day}").glob("*.parquet")) for day in days}
    answers = {day: [pq.ParquetFile(path).read([PREDICTION])[PREDICTION] for path in found[day]] for day in days}
    rows = {day: [len(column) for column in answers[day]] for day in days}
    if wrong := {day: (rows[day], days[day]) for day in days if rows[day] != [days[day]]}:
        raise PublishError(
            f"{pipeline_name}: Spark has left other rows than were asked for (day: rows of each file, expected in one "
            f"file): {wrong}. Nothing was replaced; score these days again."
        )
    with captures.rewriting(pipeline_name):  # an erasure may be rewriting the sets of before
        for day, (path,) in found.items():
            target = folder / f"day={day}" / SCORES
            target.parent.mkdir(parents=True, exist_ok=True)
            path.replace(target)
    return sum(column.null_count for columns in answers.values() for column in columns)
