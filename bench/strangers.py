"""This file has strangers' data sets and what a stranger says about them.

They ship in PyPI packages. They have no dates, so their rows are dealt out into days in their order.
"""

import difflib
from dataclasses import dataclass, field
from datetime import date, timedelta
from importlib.resources import files
from pathlib import Path

import pandas as pd

FIRST = date(2024, 1, 1)


@dataclass(frozen=True)
class DataSet:
    """A data set, and what a stranger says about it: the command's options, and lines of the YAML put otherwise."""

    package: str
    path: str
    target: str
    task: str
    days: int
    columns: tuple[str, ...] | None = None  # where the file has no header
    picture: str | None = None  # columns whose names begin so are delivered as one: a JSON list
    edits: dict[str, str] = field(default_factory=dict)


DATA_SETS = {
    "bikeshare": DataSet(
        "ISLP",
        "data/Bikeshare.csv",
        target="bikers",
        task="regression",
        days=16,
        edits={"description: \"What will 'bikers' be?\"": "description: How many bikes will be out in this hour?"},
    ),
    "digits": DataSet(
        "sklearn",
        "datasets/data/digits.csv.gz",
        target="digit",
        task="multiclass",
        days=10,
        columns=(*(f"pixel_{number}" for number in range(64)), "digit"),
        picture="pixel",
    ),
    "caravan": DataSet("ISLP", "data/Caravan.csv", target="Purchase", task="binary", days=10),
}


def deal(name: str, folder: Path) -> list[str]:
    """Write a data set as one CSV a day, each row with an id, and return the days."""
    about = DATA_SETS[name]
    with (files(about.package) / about.path).open("rb") as file:
        compression = "gzip" if about.path.endswith(".gz") else None
        rows = pd.read_csv(
            file,
            compression=compression,
            names=list(about.columns) if about.columns else None,
            dtype=str,
            na_filter=False,
        )
    if about.picture:
        pixels = [column for column in rows.columns if column.startswith(about.picture)]
        lists = "[" + rows[pixels].agg(", ".join, axis=1) + "]"
        rows = rows.drop(columns=pixels).assign(**{about.picture: lists})
    (folder / name).mkdir(parents=True)
    days = [(FIRST + timedelta(days=number)).isoformat() for number in range(about.days)]
    for number, day in enumerate(days):
        part = rows.iloc[len(rows) * number // len(days) : len(rows) * (number + 1) // len(days)].copy()
        part.insert(0, "id", [f"{day}-{row}" for row in range(len(part))])
        part.to_csv(folder / name / f"{day}.csv", index=False)
    return days


def edit(path: Path, edits: dict[str, str]) -> int:
    """Put lines of a YAML otherwise, and return how many differ then."""
    before = path.read_text()
    after = before
    for line, instead in edits.items():
        if line not in after:
            raise ValueError(f"{path}: there is no '{line}' to put otherwise.")
        after = after.replace(line, instead)
    path.write_text(after)
    return sum(line.startswith("+ ") for line in difflib.ndiff(before.splitlines(), after.splitlines()))
