"""This file judges predictions: metrics, paired day-block intervals, and the gate a challenger must pass. All pure."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from include.learning.metrics import gain, metrics_of
from include.learning.scoring import Floats, resampled
from include.learning.task import Task
from include.policy import Gate

_SEED = 20130701


@dataclass(frozen=True)
class Interval:
    """A gain measured on rows (positive is better), and where it may lie if other days had come."""

    metric: str
    new: float
    old: float
    gain: float
    low: float
    high: float
    days: int
    rows: int


@dataclass(frozen=True)
class Slice:
    """The gain among the rows that share a value of a column."""

    column: str
    value: str
    found: Interval

    def __str__(self) -> str:
        return f"{self.column}={self.value} ({_numbers(self.found)} on {self.found.rows} rows)"


@dataclass(frozen=True)
class Verdict:
    """What the gate said about a challenger, with its numbers; they are None where nothing could be measured."""

    passed: bool
    metric: str
    challenger: float | None
    champion: float | None
    gain: float | None
    interval: tuple[float, float] | None
    days: int
    rows: int
    reason: str
    worse_slices: tuple[Slice, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Return the verdict as JSON can hold it."""
        return {
            **asdict(self),
            "interval": list(self.interval) if self.interval else None,
            "worse_slices": [asdict(part) for part in self.worse_slices],
        }


def metrics(task: Task, labels: Floats, predictions: Floats, *, prices: Floats | None = None) -> dict[str, float]:
    """Return all metrics of a task.

    :raises ValueError: if the labels are all the same, or a prediction is not a number.
    """
    problem = task.problem(labels, predictions)
    if problem:
        raise ValueError(f"No metrics can be computed: {problem}.")
    names = metrics_of(task.name, has_costs=prices is not None)
    return {name: quality(name, labels, predictions, prices) for name in names}


def quality(metric: str, labels: Floats, predictions: Floats, prices: Floats | None = None) -> float:
    """Return one metric over all rows; NaN where they cannot say it, such as an AUC without both classes."""
    one_block = np.zeros(len(labels), dtype=np.intp)
    return float(resampled(metric, labels, predictions, one_block, np.ones((1, 1)), prices)[0])


def paired_interval(  # noqa: PLR0913  the rows, and how they are measured
    labels: Floats,
    new: Floats,
    old: Floats,
    days: npt.ArrayLike,
    *,
    policy: Gate,
    prices: Floats | None = None,
) -> Interval:
    """Return the gain of the new predictions over the old ones, with an interval from resampling whole days.

    Rows of one day are alike (weather, crowds), so that resampling rows would promise far too narrow an interval.
    Both models are measured on the same resampled days: what makes a day hard for both cancels out.
    """
    names, blocks = np.unique(np.asarray(days), return_inverse=True)
    draws = np.random.default_rng(_SEED).multinomial(
        len(names), np.full(len(names), 1 / len(names)), size=policy.resamples
    )
    weights = np.vstack([np.ones(len(names)), draws])  # The first line is the data as they are.
    measured_new = resampled(policy.metric, labels, new, blocks, weights, prices)
    measured_old = resampled(policy.metric, labels, old, blocks, weights, prices)
    gains = gain(policy.metric, measured_new, measured_old)
    tail = (1 - policy.confidence) / 2
    low, high = np.nanquantile(gains[1:], [tail, 1 - tail])
    return Interval(
        metric=policy.metric,
        new=float(measured_new[0]),
        old=float(measured_old[0]),
        gain=float(gains[0]),
        low=float(low),
        high=float(high),
        days=len(names),
        rows=len(labels),
    )


def gate(  # noqa: PLR0913  the rows, and how they are judged
    task: Task,
    labels: Floats,
    challenger: Floats,
    champion: Floats | None,
    days: npt.ArrayLike,
    *,
    policy: Gate,
    slices: Mapping[str, Sequence[str]] | None = None,
) -> Verdict:
    """Say whether a challenger may replace the champion, judged on rows that neither of them was trained on.

    A challenger passes if its gain exceeds `min_gain`, the gain's interval does not reach below minus `margin`, and it
    is not clearly worse in any slice. The first model has no champion: it must beat the best constant prediction, with
    the whole interval above nought.

    :param slices: by column of `gate.slices`, each row's value.
    """
    first = champion is None
    rival = task.constant(labels) if champion is None else champion
    refusal = _refusal(task, labels, challenger, rival, days)
    if refusal:
        num_days = len(np.unique(np.asarray(days)))
        return Verdict(False, policy.metric, None, None, None, None, num_days, len(labels), f"Refused: {refusal}.")

    found = paired_interval(labels, challenger, rival, days, policy=policy, prices=task.prices(policy.costs))
    needed = f"above {policy.min_gain:+.4f}, with an interval not below {-policy.margin:+.4f}"
    passed = found.gain > policy.min_gain and found.low >= -policy.margin
    worse: tuple[Slice, ...] = ()
    if first:
        needed = "with an interval wholly above 0, as there is no champion yet"
        passed = found.low > 0
    else:
        worse = worse_slices(task, labels, challenger, rival, days, policy=policy, slices=slices or {})
    return Verdict(
        passed=passed and not worse,
        metric=policy.metric,
        challenger=found.new,
        champion=None if first else found.old,
        gain=found.gain,
        interval=(found.low, found.high),
        days=found.days,
        rows=found.rows,
        reason=_sentence(
            found, "the constant prediction" if first else "the champion", needed, worse, passed=passed, policy=policy
        ),
        worse_slices=worse,
    )


def worse_slices(  # noqa: PLR0913  the rows, and how they are judged
    task: Task,
    labels: Floats,
    new: Floats,
    old: Floats,
    days: npt.ArrayLike,
    *,
    policy: Gate,
    slices: Mapping[str, Sequence[str]],
) -> tuple[Slice, ...]:
    """Return the slices in which the new predictions are clearly worse: the gain's interval wholly below -`margin`.

    The more slices are looked at, the likelier one of them looks bad by chance, so that they share the doubt that
    `confidence` leaves (Bonferroni). Slices of too few rows, of one day or of one class say nothing.
    """
    days = np.asarray(days)
    groups = [
        (column, value, np.flatnonzero(np.asarray(values) == value))
        for column, values in slices.items()
        for value in sorted(set(values))
    ]
    telling = [
        (column, value, rows)
        for column, value, rows in groups
        if len(rows) >= policy.min_slice_rows and not _refusal(task, labels[rows], new[rows], old[rows], days[rows])
    ]
    shared = policy.model_copy(update={"confidence": 1 - (1 - policy.confidence) / max(len(telling), 1)})
    prices = task.prices(policy.costs)
    found = [
        Slice(
            column,
            value,
            paired_interval(labels[rows], new[rows], old[rows], days[rows], policy=shared, prices=prices),
        )
        for column, value, rows in telling
    ]
    return tuple(part for part in found if part.found.high < -policy.margin)


def _sentence(  # noqa: PLR0913  everything that is said
    found: Interval, rival: str, needed: str, worse: Sequence[Slice], *, passed: bool, policy: Gate
) -> str:
    vetoed = f" Clearly worse: {'; '.join(map(str, worse))}." if worse else ""
    return (
        f"{'Passed' if passed and not worse else 'Refused'}: {policy.metric} {found.new:.4f} against {found.old:.4f} "
        f"of {rival} on {found.rows} rows of {found.days} days: gain {found.gain:+.4f}, {policy.confidence:.0%} "
        f"interval [{found.low:+.4f}, {found.high:+.4f}]. Needed: a gain {needed}.{vetoed}"
    )


def _numbers(found: Interval) -> str:
    return f"{found.metric} {found.new:.4f} against {found.old:.4f}"


def _refusal(task: Task, labels: Floats, challenger: Floats, rival: Floats, days: npt.ArrayLike) -> str:
    for name, predictions in (("challenger", challenger), ("champion", rival)):
        problem = task.problem(labels, predictions)
        if problem:
            return f"the {name} cannot be measured: {problem}"
    if len(np.unique(np.asarray(days))) < 2:
        return "the hold-out has a single day, and one day says nothing about the next"
    return ""
