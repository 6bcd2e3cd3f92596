"""This file tries thresholds of the governor on known history, and says what each would have done."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

from rich.table import Table

from include.pipeline import Pipeline
from include.replay.changes import with_changes
from include.replay.history import Models, load_history
from include.replay.report import false_alarms, numbers, replay

TOLLS = {"governor.repairs.recalibrate": (0.002, 0.005, 0.01), "governor.repairs.retrain": (0.02, 0.03, 0.05)}


@dataclass(frozen=True)
class Tried:
    """One setting, and what it would have done."""

    changes: tuple[str, ...]
    numbers: dict[str, float]
    asked: int
    in_vain: int

    def __str__(self) -> str:
        times = f"asked for {self.asked} trainings; {self.in_vain} of them gained nothing"
        return f"{' '.join(self.changes)}: this setting would have {times}; loss {self.numbers['log_loss']:.4f}"


def try_all(
    pipeline: Pipeline, first: str, last: str, folder: Path, tell: Callable[[str], Any] = lambda _text: None
) -> list[Tried]:
    """Return what each combination of tolls would have done, the best loss first.

    :param tell: is told what is being tried.
    """
    history = load_history(pipeline, first, last)
    models = Models(history, folder)
    tried = []
    for values in product(*TOLLS.values()):
        changes = tuple(f"{key}={value}" for key, value in zip(TOLLS, values, strict=True))
        tell(f"Trying {' '.join(changes)} …")
        changed = replace(history, pipeline=with_changes(pipeline, changes))
        lived = replay(changed, models, "governor", first, last)
        alarms = false_alarms(lived)
        tried.append(Tried(changes, numbers(lived.told), alarms["asked"], alarms["in_vain"]))
    return sorted(tried, key=lambda each: each.numbers["log_loss"])


def table_of(tried: Sequence[Tried]) -> Table:
    """Return what was tried for people."""
    table = Table(title="Thresholds on known history, the best loss first", title_justify="left")
    for column in (
        *(key.removeprefix("governor.") for key in TOLLS),
        "loss",
        "trainings asked",
        "in vain",
        "recalibrations",
    ):
        table.add_column(column, justify="right")
    for each in tried:
        values = [change.partition("=")[2] for change in each.changes]
        found = each.numbers
        counts = (str(each.asked), str(each.in_vain), f"{found['recalibrations']:.0f}")
        table.add_row(*values, f"{found['log_loss']:.4f}", *counts)
    return table


def advice(tried: Sequence[Tried]) -> str:
    """Return the setting to take: of those within half a percent of the best loss, the one that cried wolf least."""
    near = [each for each in tried if each.numbers["log_loss"] <= 1.005 * tried[0].numbers["log_loss"]]
    best = min(near, key=lambda each: (each.in_vain, each.asked, each.numbers["log_loss"]))
    return f"Proposed: {best}."
