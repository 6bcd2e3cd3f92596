"""This file is what the governor knows when it decides, and what it answers."""

from dataclasses import dataclass, field
from typing import Any, Literal

from include.policy import RepairName
from include.repairs.estimate import Estimate


@dataclass(frozen=True)
class Champion:
    """The release in service, as far as it matters here."""

    version: int
    quality: float | None  # on its own hold-out, in the metric the policy watches; None if that was not measured then
    judged_until: str
    trained_until: str = ""  # newest day its network has learned from or was judged on; empty: as judged

    @property
    def network_until(self) -> str:
        """Return the newest day that the network knows: a recalibration is newer."""
        return self.trained_until or self.judged_until


@dataclass(frozen=True)
class Served:
    """One measured day of the champion."""

    day: str
    rows: int
    labelled: int
    quality: float | None
    drifted_share: float | None
    drifted: tuple[tuple[str, float], ...] = ()  # column and effect size, largest first


@dataclass(frozen=True)
class Situation:
    """All that is known when a publication is judged."""

    champion: Champion | None
    windows: tuple[Served, ...]  # of the champion's version, oldest first
    served_days: tuple[str, ...]  # of this publication
    unfinished: tuple[str, ...]  # requests and releases that are still on their way
    published_rows: int
    needed_rows: int  # for a training
    newest_day: str = ""  # of this publication
    last_tried: str = ""  # newest day that a training which came to nothing was asked for
    last_repaired: str = ""  # newest day that a cheap repair which came to nothing was asked for
    failures: int = 0  # trainings in a row, since the champion's, that came to nothing
    trained_on: tuple[str, ...] = ()  # newest day of each training that was asked for by itself
    spent_hours: float = 0.0  # by trainings of the last 30 days
    hours_each: float = 0.0  # that a training takes
    estimates: tuple[Estimate, ...] = ()  # what each repair promises; empty where nothing can be said
    paused: str = ""  # since when, by whom and why; empty where nothing is paused


@dataclass(frozen=True)
class Judgement:
    """What is to be done, and why."""

    action: Literal["nothing"] | RepairName
    reason: str
    triggered_by: str = ""  # first | quality | drift | schedule, where something is to be done
    version: int | None = None  # the former champion to be put back
    evidence: dict[str, Any] = field(default_factory=dict)
    limit: str = ""  # key of the YAML's limit that was reached, where people are to be told


def nothing(reason: str, evidence: dict[str, Any] | None = None) -> Judgement:
    """Return the judgement that nothing is to be done, and why."""
    return Judgement("nothing", reason, evidence=evidence or {})
