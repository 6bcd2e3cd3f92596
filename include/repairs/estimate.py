"""This file says what each repair of a stale model would gain, from answers and labels in memory. All pure."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from include.evaluation import Interval, paired_interval
from include.learning.calibration import fit
from include.learning.metrics import GOVERNOR_DEFAULT, TaskName
from include.learning.scoring import Floats
from include.policy import Gate, RepairName, Repairs

FEWEST_DAYS = 4  # of fewer days an interval says nothing
LOSS = GOVERNOR_DEFAULT  # what a repair is to lessen, whatever metric people watch: it sees level and order
MOST_RISKED = 0.05  # share of the loss; of 1, 2, 5 % and any, the least that March to July did not mind (decision 0016)


@dataclass(frozen=True)
class Labelled:
    """Rows whose outcome is known, in the order of their days."""

    task: TaskName
    labels: Floats  # encoded as the task does
    days: npt.NDArray[np.str_]  # ISO date of each row, ascending

    @cached_property
    def names(self) -> list[str]:
        """Return the days there are."""
        return [str(day) for day in np.unique(self.days)]

    def rows(self, first: str, last: str) -> slice:
        """Return where the rows of a range of days lie, both included."""
        return slice(int(np.searchsorted(self.days, first)), int(np.searchsorted(self.days, last, side="right")))


@dataclass(frozen=True)
class Answers:
    """One model's answers to all of the rows, as training made it: without any correction."""

    predictions: Floats
    learned_until: str  # the newest day whose labels its network has seen


@dataclass(frozen=True)
class Estimate:
    """What one repair is expected to gain; shares are of the loss as it is now."""

    action: RepairName
    version: int | None  # the former champion that would be put back
    share: float
    low: float
    high: float
    loss: float  # with the repair
    now: float  # without it
    days: int
    rows: int
    toll: float  # the share it must exceed
    beyond: float = 0.0  # of the share, what recalibrating the champion would bring as well

    @property
    def net(self) -> float:
        """Return by how much the gain exceeds the toll."""
        return self.share - self.toll

    @property
    def pays(self) -> bool:
        """Tell whether it is worth it: more than the toll and, for all but a recalibration, hardly by chance."""
        is_sure = self.action == "recalibrate" or self.low > 0
        return self.share - self.beyond > self.toll and is_sure

    def as_dict(self) -> dict[str, Any]:
        """Return the estimate as JSON can hold it."""
        return {**asdict(self), "pays": self.pays}

    def __str__(self) -> str:
        name = self.action if self.version is None else f"{self.action} v{self.version}"
        own = self.share - self.beyond
        also = f", and {self.beyond:+.1%} that recalibrating brings" if self.beyond else ""
        return f"{name} {own:+.1%} [{self.low:+.1%}, {self.high:+.1%}] (needed: {self.toll:.1%}){also}"


def corrected_by_others(rows: Labelled, predictions: Floats, doubt_days: float) -> Floats:
    """Return answers as a recalibration would correct them: each day by what is fitted on all the others.

    That measures the recipe, not how well it fits: no day is corrected by its own labels.
    """
    found = np.array(predictions, dtype=np.float64)
    # The optimiser's matrices are 2 x 2: with several threads BLAS takes 20 times as long over them.
    with threadpool_limits(1):
        for day in rows.names if len(rows.names) > 1 else ():
            mine = rows.rows(day, day)
            others = np.ones(len(rows.days), dtype=bool)
            others[mine] = False
            correction = fit(
                rows.task, rows.labels[others], predictions[others], rows.days[others], doubt_days=doubt_days
            )
            found[mine] = correction.apply(predictions[mine])
    return found


def levelled(rows: Labelled, answers: Sequence[Floats], policy: Gate, repairs: Repairs) -> list[Floats]:
    """Return several models' answers to the same rows as the gate compares them: as recalibrating would keep them.

    They stay as they are where nothing is recalibrated, or where only the order counts: a level that is corrected day
    by day has nothing to say about it.
    """
    if repairs.recalibrate is None or policy.metric == "auc":
        return list(answers)
    return [corrected_by_others(rows, each, repairs.doubt_days) for each in answers]


def recalibration_gate(policy: Gate, task: TaskName, now: float) -> Gate:
    """Return how a recalibration is judged: by the loss, as it moves the level and leaves the order.

    It needs to gain, but not to be sure of it, as the next one mends it: only what may cost `MOST_RISKED` is refused.

    :param now: the loss without it.
    """
    return policy.model_copy(update={"metric": LOSS[task], "margin": MOST_RISKED * now, "min_gain": 0.0})


def estimate(  # noqa: PLR0913  all that a repair could be made of
    rows: Labelled,
    champion: Answers,
    now: Floats,
    policy: Repairs,
    *,
    former: Mapping[int, Answers],
    scout: Answers | None = None,
    handicap: float = 0.0,
) -> list[Estimate]:
    """Return what each allowed repair promises on the newest labelled days; nothing where these are too few.

    :param rows: the newest labelled days that the champion has not learned from, at most `window_days`.
    :param now: the champion's answers with the correction that it has now.
    :param former: past champions by version.
    :param scout: a quick learner that knows newer days than the champion; what it gains, a new model would, too.
    :param handicap: share of the loss by which the quick learner beats the champion's kind on the very same days.
    """
    if len(rows.names) < FEWEST_DAYS:
        return []
    corrected = corrected_by_others(rows, champion.predictions, policy.doubt_days)
    found = []
    level = _interval(rows, corrected, now, policy)
    if policy.recalibrate is not None:
        found.append(_as_estimate("recalibrate", level, policy.recalibrate))
    others: list[tuple[RepairName, int | None, Answers, float | None, float]] = [
        *(("reinstate", version, answers, policy.reinstate, 0.0) for version, answers in former.items()),
        *([("retrain", None, scout, policy.retrain, handicap)] if scout else []),  # type: ignore[list-item]
    ]
    # Whatever is served is recalibrated when that pays: a dearer repair is worth what it gains beyond.
    free = max(0.0, level.gain / level.old) if policy.recalibrate is not None else 0.0
    base = corrected if policy.recalibrate is not None else now
    for action, version, answers, toll, less in others:
        if toll is None or answers.learned_until >= rows.names[0]:
            continue
        by_others = corrected_by_others(rows, answers.predictions, policy.doubt_days)
        own = _interval(rows, by_others, base, policy)
        found.append(_beyond(action, version, own, toll, less=less, free=free, now=level.old))
    return found


def choose(estimates: Sequence[Estimate], forbidden: Mapping[str, str]) -> Estimate | None:
    """Return the repair with the highest gain beyond its toll among those that pay and are allowed; None if none does.

    :param forbidden: by action, why it is not to be done now.
    """
    paying = [found for found in estimates if found.pays and found.action not in forbidden]
    return max(paying, key=lambda found: found.net, default=None)


def _as_estimate(action: RepairName, found: Interval, toll: float) -> Estimate:
    shares = (found.gain / found.old, found.low / found.old, found.high / found.old)
    return Estimate(action, None, *shares, found.new, found.old, found.days, found.rows, toll)


def _beyond(  # noqa: PLR0913  what it gains, and beyond what
    action: RepairName, version: int | None, found: Interval, toll: float, *, less: float, free: float, now: float
) -> Estimate:
    own, low, high = (end / found.old - less for end in (found.gain, found.low, found.high))
    loss = found.old * (1 - own)
    return Estimate(action, version, own + free, low, high, loss, now, found.days, found.rows, toll, free)


def _interval(rows: Labelled, new: Floats, old: Floats, policy: Repairs) -> Interval:
    as_gate = Gate(metric=LOSS[rows.task], confidence=policy.confidence)
    return paired_interval(rows.labels, new, old, rows.days, policy=as_gate)
