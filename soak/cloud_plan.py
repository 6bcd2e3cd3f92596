"""This file says which tries of which trainings die, how and when: a plan that can be repeated."""

import random
from dataclasses import dataclass

from soak.cloud_worker import points_of

ENDS = ("finished", "given up", "overdue")


@dataclass(frozen=True)
class Crash:
    """What happens to one try."""

    kind: str  # task | supervisor | killed | network
    point: str = ""  # of the task, where it dies at a named one
    seconds: float = 0.0  # else after so many


@dataclass(frozen=True)
class Trial:
    """One request: the crashes of its tries, one after another, and how it ends."""

    crashes: tuple[Crash, ...]
    end: str


def plan(platform: str, number: int, seed: int) -> list[Trial]:
    """Return trials with so many crashes in all; together they visit every point often."""
    dice, trials = random.Random(f"{platform} {seed}"), []  # noqa: S311 - a plan that can be repeated, not a secret
    points: list[str] = []
    while sum(len(trial.crashes) for trial in trials) < number:
        if len(points) < 3:
            points += dice.sample(points_of(platform), len(points_of(platform)))
        named = sorted((points.pop() for _ in range(3)), key=points_of(platform).index)
        crashes = [Crash("task", point=point) for point in dict.fromkeys(named)]
        kinds = ("task", "supervisor", "killed", *(() if platform == "local" else ("network", "network")))
        for kind in dice.choices(kinds, k=2):
            crashes.insert(dice.randint(0, len(crashes)), Crash(kind, seconds=round(dice.uniform(0, 3), 2)))
        trials.append(Trial(tuple(crashes), dice.choices(ENDS, weights=(70, 15, 15))[0]))
    return trials
