"""This file lives through a year night by night under one policy, with the governor's and the gate's own functions."""

import logging
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from include.evaluation import gate, quality
from include.learning.calibration import CALIBRATIONS, Calibration, fit
from include.learning.scoring import Floats
from include.monitoring import governor
from include.monitoring.situation import Champion, Judgement, Served, Situation
from include.policy import Governor, Repairs
from include.repairs.estimate import (
    FEWEST_DAYS,
    LOSS,
    Answers,
    Estimate,
    Labelled,
    corrected_by_others,
    estimate,
    levelled,
    recalibration_gate,
)
from include.replay.history import History, Models
from include.replay.policies import Policy

log = logging.getLogger(__name__)

MOST_FORMER = 3


@dataclass(frozen=True)
class Serving:
    """The version in service: a network that has learned from some days, and its correction."""

    version: int
    network: tuple[int, int]  # first and last position it has learned from
    correction: Calibration
    quality: float  # on its hold-out, in the metric that is watched
    judged_until: int
    trained_until: int


@dataclass
class Told:
    """What became of a replay: an entry per night, and what was done."""

    policy: str
    days: list[str] = field(default_factory=list)
    loss: list[float] = field(default_factory=list)
    auc: list[float] = field(default_factory=list)
    rows: list[int] = field(default_factory=list)
    events: list[dict[str, Any]] = field(default_factory=list)
    seconds: float = 0.0  # of processor time: trainings, judged and refitted, and scouts
    networks: int = 0  # trained in all, those that were refused and refits among them


class Replay:
    """One policy's year.

    :param first: position of the first served day; the first model is made of the days before it.
    """

    def __init__(self, history: History, models: Models, policy: Policy, first: int, last: int) -> None:
        self.history, self.models, self.policy = history, models, policy
        self.pipeline, self.training = history.pipeline, history.pipeline.training
        self.first, self.last = first, last
        self.told = Told(policy.name)
        self.windows: list[Served] = []
        self.former: list[Serving] = []
        self.last_tried = self.last_repaired = ""
        self.failures, self.versions = 0, 0
        self.asked: list[str] = []
        self._handicaps: dict[tuple[int, int], float] = {}
        self.serving = self._first_model()

    def run(self) -> Told:
        """Serve every day, learn its outcome, decide."""
        for day in range(self.first, self.last + 1):
            self._serve(day)
            if self.policy.governor:
                self._govern(day, self.policy.governor)
            elif self.policy.every and (day + 1 - self.first - self.policy.offset) % self.policy.every == 0:
                self._retrain_by_calendar(day)
        return self.told

    def loss_of(self, serving: Serving, first: int, last: int) -> float:
        """Return the loss that a version, as it was, would have had on a range of days."""
        rows = self._labelled(first, last)
        answers = serving.correction.apply(self._of(self._network(serving.network), first, last))
        return quality(LOSS[rows.task], rows.labels, answers)

    def _serve(self, day: int) -> None:
        rows = self.history.rows(day, day)
        labels = self.history.labels[rows]
        answers = self.serving.correction.apply(self._network(self.serving.network)[rows].astype(np.float64))
        self.told.days.append(self.history.names[day])
        self.told.loss.append(quality(LOSS[self.training.task], labels, answers))
        self.told.auc.append(quality("auc", labels, answers) if self.training.task == "binary" else np.nan)
        self.told.rows.append(len(labels))
        if self.policy.governor:
            found = quality(self.policy.governor.metric, labels, answers)
            count = len(labels)
            self.windows.append(Served(self.history.names[day], count, count, None if np.isnan(found) else found, None))

    def _govern(self, day: int, policy: Governor) -> None:
        judged = governor.decide(self._situation(day, policy), policy)
        if judged.action == "nothing":
            return
        before = self.serving
        done = {"retrain": self._retrain, "recalibrate": self._recalibrate, "reinstate": self._reinstate}
        is_done = done[judged.action](day, judged)
        self._note(day, judged.action, is_done=is_done, reason=judged.reason, before=before)

    def _situation(self, day: int, policy: Governor) -> Situation:
        champion, name = self.serving, self.history.names
        return Situation(
            champion=Champion(
                champion.version, champion.quality, name[champion.judged_until], name[champion.trained_until]
            ),
            windows=tuple(self.windows),
            served_days=(name[day],),
            unfinished=(),
            published_rows=0,
            needed_rows=0,
            last_tried=self.last_tried,
            last_repaired=self.last_repaired,
            failures=self.failures,
            trained_on=tuple(self.asked),
            estimates=tuple(self._estimates(day, policy)),
        )

    def _estimates(self, day: int, policy: Governor) -> list[Estimate]:
        repairs, learned = policy.repairs, self.serving.network[1]
        start = max(learned + 1, day + 1 - repairs.window_days)
        if day + 1 - start < FEWEST_DAYS:
            return []
        rows = self._labelled(start, day)
        raw = self._of(self._network(self.serving.network), start, day)
        scout, handicap = None, 0.0
        if repairs.retrain is not None and start - 1 > learned:
            answers, seconds = self.models.scout(self._window_start(start - 1), start - 1)
            self.told.seconds += seconds
            scout = Answers(self._of(answers, start, day), self.history.names[start - 1])
            handicap = self._handicap(repairs.doubt_days)
        former = {
            each.version: Answers(
                self._of(self._network(each.network), start, day), self.history.names[each.network[1]]
            )
            for each in self.former[-MOST_FORMER:]
        }
        champion = Answers(raw, self.history.names[learned])
        return estimate(
            rows, champion, self.serving.correction.apply(raw), repairs, former=former, scout=scout, handicap=handicap
        )

    def _handicap(self, doubt_days: float) -> float:
        """Return by which share of the loss the quick learner beats the network, both from the same days."""
        network = self.serving.network
        if network not in self._handicaps:
            cut = network[1] - self.training.holdout_days if self.training.refit else network[1]
            end = min(cut + self.training.holdout_days, self.last)
            rows, first = self._labelled(cut + 1, end), self._window_start(cut)
            kinds = (self.models.network(first, cut), self.models.scout(first, cut))
            self.told.seconds += kinds[1][1]
            mine, theirs = (
                quality(
                    LOSS[rows.task], rows.labels, corrected_by_others(rows, self._of(found, cut + 1, end), doubt_days)
                )
                for found, _ in kinds
            )
            self._handicaps[network] = max(0.0, (mine - theirs) / mine)
        return self._handicaps[network]

    def _first_model(self) -> Serving:
        cut = self.first - 1 - self.training.holdout_days
        recipe = (self._window_start(cut), cut)
        worth = self._worth(self._paid(recipe), cut + 1, self.first - 1)
        return self._promoted(self._served_network(recipe, self.first - 1), worth, self.first - 1)

    def _retrain(self, day: int, judged: Judgement) -> bool:
        del judged
        cut = day - self.training.holdout_days
        recipe = (self._window_start(cut), cut)
        answers = self._paid(recipe)
        self.asked.append(self.history.names[day])
        start = max(cut, self.serving.network[1]) + 1
        if not self._passes(answers, start, day):
            self.last_tried, self.failures = self.history.names[day], self.failures + 1
            return False
        self.former.append(self.serving)
        worth = self._worth(answers, cut + 1, day)
        self._promote(self._promoted(self._served_network(recipe, day), worth, day))
        self.failures = 0
        return True

    def _passes(self, answers: Floats, start: int, day: int) -> bool:
        if day - start < 1:
            return False
        rows, policy = self._labelled(start, day), self.pipeline.gate
        both = (self._of(answers, start, day), self._of(self._network(self.serving.network), start, day))
        new, old = levelled(rows, both, policy, self._repairs)
        return gate(self.history.task, rows.labels, new, old, rows.days, policy=policy).passed

    def _recalibrate(self, day: int, judged: Judgement) -> bool:
        del judged
        start, repairs = self._judged_from(day, self.serving.network), self._repairs
        rows, raw = self._labelled(start, day), self._of(self._network(self.serving.network), start, day)
        new, old = corrected_by_others(rows, raw, repairs.doubt_days), self.serving.correction.apply(raw)
        policy = recalibration_gate(self.pipeline.gate, rows.task, quality(LOSS[rows.task], rows.labels, old))
        if not gate(self.history.task, rows.labels, new, old, rows.days, policy=policy).passed:
            return False
        self._promote(self._corrected(self.serving, day))
        return True

    def _reinstate(self, day: int, judged: Judgement) -> bool:
        chosen = next(each for each in self.former if each.version == judged.version)
        start = self._judged_from(day, self.serving.network, chosen.network)
        if not self._passes(self._network(chosen.network), start, day):
            return False
        self.former = [each for each in self.former if each is not chosen] + [self.serving]
        self._promote(self._corrected(replace(chosen, trained_until=self.serving.trained_until), day))
        return True

    def _judged_from(self, day: int, *networks: tuple[int, int]) -> int:
        """Return the first of the newest days that none of the networks has learned from."""
        return max(*(last + 1 for _, last in networks), day + 1 - self._repairs.window_days)

    def _corrected(self, base: Serving, day: int) -> Serving:
        repairs = self._repairs
        start = self._judged_from(day, base.network)
        rows, raw = self._labelled(start, day), self._of(self._network(base.network), start, day)
        found = fit(rows.task, rows.labels, raw, rows.days, doubt_days=repairs.doubt_days)
        by_others = corrected_by_others(rows, raw, repairs.doubt_days)
        worth = quality(self.pipeline.governor.metric, rows.labels, by_others)
        return replace(base, version=self._next(), correction=found, quality=worth, judged_until=day)

    def _retrain_by_calendar(self, day: int) -> None:
        """Train on all days up to this one and serve it, unjudged: the strongest a calendar can be."""
        network = (self._window_start(day), day)
        self._paid(network)
        before = self.serving
        self.serving = replace(before, version=self._next(), network=network)
        self._note(day, "retrain", is_done=True, reason="The calendar says so.", before=before)

    def _promoted(self, network: tuple[int, int], worth: float, day: int) -> Serving:
        return Serving(self._next(), network, CALIBRATIONS[self.training.task](), worth, day, day)

    def _promote(self, serving: Serving) -> None:
        self.serving, self.windows = serving, []

    def _served_network(self, recipe: tuple[int, int], day: int) -> tuple[int, int]:
        if not self.training.refit:
            return recipe
        refitted = (self._window_start(day), day)
        self._paid(refitted)
        return refitted

    def _worth(self, answers: Floats, first: int, last: int) -> float:
        metric = self.policy.governor.metric if self.policy.governor else LOSS[self.training.task]
        return quality(metric, self._labelled(first, last).labels, self._of(answers, first, last))

    def _paid(self, network: tuple[int, int]) -> Floats:
        answers, seconds = self.models.network(*network)
        self.told.seconds += seconds
        self.told.networks += 1
        return answers

    def _network(self, network: tuple[int, int]) -> Floats:
        return self.models.network(*network)[0]

    def _window_start(self, last: int) -> int:
        return max(0, last + 1 - self.training.window_days)

    def _labelled(self, first: int, last: int) -> Labelled:
        rows = self.history.rows(first, last)
        return Labelled(self.training.task, self.history.labels[rows], self.history.days[rows])

    def _of(self, answers: Floats, first: int, last: int) -> Floats:
        return answers[self.history.rows(first, last)].astype(np.float64)

    @property
    def _repairs(self) -> Repairs:
        return (self.policy.governor or self.pipeline.governor).repairs

    def _next(self) -> int:
        self.versions += 1
        return self.versions

    def _note(self, day: int, action: str, *, is_done: bool, reason: str, before: Serving) -> None:
        self.last_repaired = self.last_repaired if is_done or action == "retrain" else self.history.names[day]
        event = {
            "day": self.history.names[day],
            "action": action,
            "done": is_done,
            "version": self.serving.version,
            "reason": reason,
            "before": before,
            "after": self.serving,
        }
        self.told.events.append(event)


def gains_afterwards(replay: Replay, num_days: int) -> list[dict[str, Any]]:
    """Return what each change really gained on the days after it: loss of what it replaced minus its own.

    Both as they were at that moment, so that what was done later is not counted.
    """
    found = []
    for event in replay.told.events:
        if not event["done"]:
            continue
        day = replay.history.index[event["day"]]
        last = min(day + num_days, replay.last)
        if last <= day:
            continue
        losses = [replay.loss_of(each, day + 1, last) for each in (event["before"], event["after"])]
        found.append({**{name: event[name] for name in ("day", "action")}, "gain": losses[0] - losses[1]})
    return found
