"""This file estimates what answers are worth before their labels arrive, from what such answers were worth before.

Confidence-based performance estimation (CBPE; NannyML's documentation, "How it works: performance estimation"):
answers are calibrated on the hold-out, and then say themselves how often they will be right. It rests on two things. A
label must still follow from an answer as it did on the hold-out: **a change of the world that no feature shows (concept
drift) is invisible to it**, and only labels will tell. And such answers must have occurred on the hold-out. All pure.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from include.evaluation import quality
from include.learning import calibration
from include.learning.metrics import metrics_of
from include.learning.scoring import Floats
from include.learning.task import Task

DRAWS = 40
NEIGHBOURS = 10  # groups of hold-out answers of like size whose errors a regression's answer may have
RANGE = (0.05, 0.95)
_SEED = 7


@dataclass(frozen=True)
class Holdout:
    """A version's answers to rows it did not learn from, and what became of them."""

    task: Task
    labels: Floats  # as the task encodes them
    predictions: Floats
    days: npt.NDArray[Any]

    @cached_property
    def calibrated(self) -> calibration.Calibration:
        """Return the correction of a class's probabilities that the hold-out asks for."""
        return calibration.fit(self.task.name, self.labels, self.predictions, self.days, doubt_days=0)


def estimate(holdout: Holdout, predictions: Floats, prices: Floats | None = None) -> dict[str, Any]:
    """Return for each metric of the task what it is expected to be, and in `ranges` where chance may put it (90 %).

    Labels are drawn as the calibrated answers say they fall (a regression's: the answer and an error that an answer of
    its size had on the hold-out), and judged by the gate's own functions; the estimate is the mean over the draws. The
    range knows the chance of these rows alone, not how wrong the calibration may be.
    """
    problem = holdout.task.problem(holdout.labels, holdout.predictions)
    if problem or not len(predictions):
        return {"state": "unknown", "why": f"the hold-out cannot be learned from: {problem}" if problem else "no rows"}
    labels = simulated(holdout, predictions)
    drawn = {
        name: [quality(name, line, predictions, prices) for line in labels]
        for name in metrics_of(holdout.task.name, has_costs=prices is not None)
    }
    known = {name: values for name, values in drawn.items() if np.isfinite(values).all()}
    means = {name: round(float(np.mean(values)), 6) for name, values in known.items()}
    ranges = {name: [round(float(end), 6) for end in np.quantile(values, RANGE)] for name, values in known.items()}
    return {"state": "known", "rows": len(predictions), **means, "ranges": ranges}


def error_of(estimated: dict[str, Any], true: dict[str, Any]) -> dict[str, float]:
    """Return by how much each metric was estimated too high (negative: too low), where both are known."""
    if "unknown" in (estimated.get("state"), true.get("state")):
        return {}
    return {name: round(estimated[name] - true[name], 6) for name in estimated.get("ranges", {}) if name in true}


def simulated(holdout: Holdout, predictions: Floats) -> Floats:
    """Return [draws, rows] of labels as such answers had them on the hold-out.

    Each row's draws are spread evenly over what may come (Latin hypercube): few draws give nearly the exact mean.
    """
    rng = np.random.default_rng(_SEED)
    ranks = rng.permuted(np.tile(np.arange(DRAWS), (len(predictions), 1)), axis=1).T
    chance = (ranks + rng.random(ranks.shape)) / DRAWS
    if holdout.task.name == "regression":
        return predictions + _errors(holdout, predictions, chance)
    chances = holdout.calibrated.apply(np.asarray(predictions, dtype=np.float64))
    if chances.ndim == 1:
        return (chance < chances).astype(np.float64)
    ends = np.cumsum(chances, axis=1)[:, :-1]
    return np.asarray((chance[:, :, None] > ends).sum(axis=2), dtype=np.float64)


def _errors(holdout: Holdout, predictions: Floats, chance: Floats) -> Floats:
    order = np.argsort(holdout.predictions, kind="stable")
    groups = [group for group in np.array_split(order, NEIGHBOURS) if len(group)]
    errors = [np.sort(holdout.labels[group] - holdout.predictions[group]) for group in groups]
    last = [holdout.predictions[group[-1]] for group in groups[:-1]]
    which = np.searchsorted(last, predictions)
    found = np.empty(chance.shape)
    for number, known in enumerate(errors):
        rows = which == number
        found[:, rows] = known[(chance[:, rows] * len(known)).astype(np.intp)]
    return found
