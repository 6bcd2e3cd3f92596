"""This file tries thresholds of the governor on known history, and says what each would have done."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

from rich.table import Table

from include.repairs.estimate import FEWEST_DAYS
from include.replay.changes import with_changes
from include.replay.history import History, Models
from include.replay.report import GAIN_DAYS, false_alarms, numbers, replay

# A first training can be asked for after so many days, and is then judged by those that follow.
FEWEST_TO_CHOOSE_BY = FEWEST_DAYS + GAIN_DAYS
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
    history: History, models: Models, first: str, last: str, tell: Callable[[str], Any] = lambda _text: None
) -> list[Tried]:
    """Return what each combination of tolls would have done, the best loss first.

    :param tell: is told what is being tried.
    """
    tried = []
    for values in product(*TOLLS.values()):
        changes = tuple(f"{key}={value}" for key, value in zip(TOLLS, values, strict=True))
        tell(f"Trying {' '.join(changes)} …")
        changed = replace(history, pipeline=with_changes(history.pipeline, changes))
        lived = replay(changed, models, "governor", first, last)
        alarms = false_alarms(lived)
        tried.append(Tried(changes, numbers(lived.told), alarms["asked"], alarms["in_vain"]))
    return sorted(tried, key=lambda each: each.numbers["log_loss"])


def table_of(tried: Sequence[Tried], period: str) -> Table:
    """Return what was tried for people."""
    table = Table(title=f"Thresholds on {period}, the best loss first", title_justify="left")
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


def advice(tried: Sequence[Tried], num_days: int) -> str:
    """Return the setting to take: of those within half a percent of the best loss, the one that cried wolf least.

    None is to be taken where the days are too few, or all settings did the same.
    """
    if num_days < FEWEST_TO_CHOOSE_BY:
        return (
            f"Nothing is proposed: {num_days} days are too few to choose by, {FEWEST_TO_CHOOSE_BY} or more are needed "
            f"(a training is judged by the {GAIN_DAYS} days after it). Take a longer period."
        )
    came = {(each.numbers["log_loss"], each.numbers["recalibrations"], each.asked, each.in_vain) for each in tried}
    if len(came) == 1:
        return (
            f"Nothing is proposed: all settings did the same on these {num_days} days. Take a period in which "
            "something changed."
        )
    near = [each for each in tried if each.numbers["log_loss"] <= 1.005 * tried[0].numbers["log_loss"]]
    best = min(near, key=lambda each: (each.in_vain, each.asked, each.numbers["log_loss"]))
    return f"Proposed: {best}."
