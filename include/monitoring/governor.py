"""This file decides what is to be done about a model: pure, with a sentence and numbers for every outcome."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Any, Literal

from include.learning.metrics import gain
from include.policy import Governor, RepairName
from include.repairs.estimate import Estimate, choose

Alarm = Literal["quality", "drift", "calm", "unknown"]


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


def decide(situation: Situation, policy: Governor) -> Judgement:
    """Say what is to be done after a publication was measured: nothing, or the repair that promises most.

    A pause does not stop the thinking: what would have been asked for is kept in the reason and the evidence.
    """
    judgement = _decide(situation, policy)
    return _held(judgement, situation.paused) if situation.paused else judgement


def _decide(situation: Situation, policy: Governor) -> Judgement:
    champion = situation.champion
    if champion is None:
        return _first(situation)
    if not situation.served_days:
        return _nothing("No day of this publication was served by the endpoint: history never asks for a new model.")
    if situation.unfinished:
        return _nothing(f"{situation.unfinished[0]} is still on its way: one new model at a time.")
    if not situation.windows:
        return _nothing(
            f"Version {champion.version} has not served a day yet: what was served here was another version."
        )
    return _repair(situation, champion, policy)


def _repair(situation: Situation, champion: Champion, policy: Governor) -> Judgement:
    if champion.quality is None:
        return _nothing(
            f"Version {champion.version} was not judged by '{policy.metric}' when it was released, so that no window "
            "can be compared with it. Start `train` by hand once, or let `governor.metric` be what it was before."
        )
    if situation.failures >= policy.stop_after:
        reason = (
            f"{situation.failures} trainings in a row came to nothing (`stop_after`: {policy.stop_after}): nothing is "
            "asked for until a person has looked. Training does not mend what is wrong: look at the data and the "
            "gate's words, then start `train` by hand."
        )
        return replace(_nothing(reason), limit="stop_after")
    alarmed = _judge(situation.windows, champion, policy)
    forbidden = _forbidden(situation, champion, policy)
    if situation.estimates and alarmed.triggered_by != "drift":
        return _by_promise(situation, champion, policy, forbidden, alarmed)
    # Labels are missing, so that nothing newer can be estimated: the alarm alone decides.
    if "retrain" in forbidden:
        return _nothing(forbidden["retrain"], alarmed.evidence)
    return alarmed if alarmed.action != "nothing" else _refresh(situation, champion, policy, alarmed)


def _by_promise(
    situation: Situation, champion: Champion, policy: Governor, forbidden: dict[str, str], alarmed: Judgement
) -> Judgement:
    evidence = {**alarmed.evidence, "repairs": [found.as_dict() for found in situation.estimates]}
    newest = situation.estimates[0]
    ladder = "; ".join(map(str, situation.estimates))
    told = f"On {newest.days} labelled days (loss {newest.now:.4f}): {ladder}."
    best = choose(situation.estimates, forbidden)
    num_telling = sum(alarm_of(window, champion, policy) != "unknown" for window in situation.windows)
    if best and num_telling < policy.alarming:
        watched = f"{num_telling} of at least {policy.alarming} telling windows"
        reason = f"Not yet: to {best.action} would pay, but version {champion.version} was watched on {watched}. {told}"
        return _nothing(reason, evidence)
    if best:
        name = best.action if best.version is None else f"{best.action} version {best.version}"
        reason = f"To {name} promises most. {told} {alarmed.reason}"
        return Judgement(best.action, reason, "quality", best.version, evidence)
    held = " ".join(dict.fromkeys(forbidden[each.action] for each in situation.estimates if each.pays))
    nothing = _nothing(f"{held or 'No repair pays.'} {told} {alarmed.reason}", evidence)
    if "monthly_hours" in held:
        return replace(nothing, limit="monthly_hours")
    return nothing if "retrain" in forbidden else _refresh(situation, champion, policy, nothing)


def _refresh(situation: Situation, champion: Champion, policy: Governor, otherwise: Judgement) -> Judgement:
    age = _days_between(champion.network_until, situation.windows[-1].day)
    if policy.refresh_days is None or age < policy.refresh_days:
        return otherwise
    reason = f"Version {champion.version} does not know the last {age} days (`refresh_days`: {policy.refresh_days})."
    return Judgement("retrain", f"{reason} {otherwise.reason}", "schedule", evidence=otherwise.evidence)


def _forbidden(situation: Situation, champion: Champion, policy: Governor) -> dict[str, str]:
    """Return, by action, why it must wait."""
    newest = situation.windows[-1].day
    found: dict[str, str] = {}
    seen = max(champion.network_until, situation.last_tried)
    if (age := _days_between(seen, newest)) < policy.cooldown_days:
        who = f"version {champion.version}" if seen == champion.network_until else "a challenger that came to nothing"
        found["retrain"] = (
            f"Cooldown: {who} has seen data until {seen}, {age} days before {newest}; at least "
            f"{policy.cooldown_days} are waited for."
        )
    this_week = sum(_days_between(day, newest) < 7 for day in situation.trained_on)
    if this_week >= policy.max_trainings_per_week:
        found["retrain"] = f"{this_week} trainings were asked for within 7 days (`max_trainings_per_week`)."
    if policy.monthly_hours is not None and situation.spent_hours + situation.hours_each > policy.monthly_hours:
        found["retrain"] = (
            f"The budget is spent: trainings of the last 30 days took {situation.spent_hours:.2f} h, another "
            f"{situation.hours_each:.2f} h would exceed `monthly_hours` ({policy.monthly_hours:g})."
        )
    seen = max(champion.judged_until, situation.last_repaired)
    if (age := _days_between(seen, newest)) < policy.repairs.rest_days:
        why = f"Rest: the newest change knows data until {seen}, {age} days before {newest} (`rest_days`)."
        found |= {"recalibrate": why, "reinstate": why}
    return found


def _days_between(first: str, last: str) -> int:
    return (date.fromisoformat(last) - date.fromisoformat(first)).days


def alarm_of(window: Served, champion: Champion, policy: Governor) -> Alarm:
    """Say what one window is: an alarm by quality or, where labels are missing, by drift; calm; or unknown."""
    if window.labelled >= policy.min_rows:
        if window.quality is None:
            return "unknown"
        return "quality" if drop_of(window.quality, champion, policy.metric) > policy.max_quality_drop else "calm"
    if window.rows >= policy.min_rows and window.drifted_share is not None:
        return "drift" if window.drifted_share >= policy.max_drifted_share else "calm"
    return "unknown"


def drop_of(quality: float, champion: Champion, metric: str) -> float:
    """Return by how much a quality is worse than the champion's hold-out, in the metric's unit."""
    return float(gain(metric, champion.quality, quality))


def _first(situation: Situation) -> Judgement:
    rows, needed = situation.published_rows, situation.needed_rows
    if situation.unfinished:
        return _nothing(f"There is no champion yet, and {situation.unfinished[0]} is still on its way.")
    if rows < needed:
        return _nothing(f"There is no champion yet, and {rows} published rows are too few: a training needs {needed}.")
    reason = f"There is no champion yet, and {rows} published rows are enough for a first one (at least {needed})."
    return Judgement("retrain", reason, "first", evidence={"published_rows": rows, "needed_rows": needed})


def _judge(windows: tuple[Served, ...], champion: Champion, policy: Governor) -> Judgement:
    alarms = [(window, alarm_of(window, champion, policy)) for window in windows]
    newest, newest_alarm = alarms[-1]
    # Windows that say nothing count neither way: the newest n of those that say something are looked at.
    telling = [(window, alarm) for window, alarm in alarms if alarm != "unknown"][-policy.windows :]
    alarming = [window.day for window, alarm in telling if alarm != "calm"]
    evidence = _evidence(telling, alarming, champion, policy)
    needed = f"(needed: {policy.alarming} of {policy.windows})"
    count = f"{len(alarming)} of the newest {len(telling)} telling windows are alarming {needed}"
    finding = _finding(newest, newest_alarm, champion, policy)
    if newest_alarm in {"calm", "unknown"}:
        return _nothing(f"The newest window is {newest_alarm}: {finding}. {count}.", evidence)
    if len(alarming) < policy.alarming:
        return _nothing(f"Not yet: {finding}, but {count}.", evidence)
    reason = f"{count}, the newest by {newest_alarm}: {finding}.{_drifted(newest)}"
    return Judgement("retrain", reason, newest_alarm, evidence=evidence)


def _finding(window: Served, alarm: Alarm, champion: Champion, policy: Governor) -> str:
    if alarm == "unknown":
        why = (
            "but all with the same label"
            if window.labelled >= policy.min_rows
            else f"of at least {policy.min_rows} needed"
        )
        return f"{window.day} has {window.rows} rows, {window.labelled} labelled, {why}"
    if window.labelled >= policy.min_rows and window.quality is not None:
        drop = drop_of(window.quality, champion, policy.metric)
        return (
            f"{policy.metric} {window.quality:.4f} on {window.day} ({window.labelled} labelled rows) is "
            f"{abs(drop):.4f} {'worse' if drop > 0 else 'better'} than version {champion.version}'s hold-out "
            f"{champion.quality:.4f} (allowed: {policy.max_quality_drop:g} worse)"
        )
    return (
        f"{window.drifted_share:.0%} of the columns drifted on {window.day} "
        f"({window.rows} rows, {window.labelled} labelled; allowed: below {policy.max_drifted_share:.0%})"
    )


def _drifted(window: Served) -> str:
    if not window.drifted:
        return ""
    named = ", ".join(f"{name} {effect:.2f}" for name, effect in window.drifted[:5])
    rest = len(window.drifted) - 5
    return f" Drifted most (effect size): {named}{f' and {rest} more' if rest > 0 else ''}."


def _evidence(
    telling: Sequence[tuple[Served, Alarm]], alarming: list[str], champion: Champion, policy: Governor
) -> dict[str, Any]:
    return {
        "champion": {"version": champion.version, "quality": champion.quality, "judged_until": champion.judged_until},
        "policy": policy.model_dump(),
        "alarming": alarming,
        "windows": [
            {
                "day": window.day,
                "alarm": alarm,
                "rows": window.rows,
                "labelled": window.labelled,
                "quality": window.quality,
                "drifted_share": window.drifted_share,
            }
            for window, alarm in telling
        ],
    }


def _held(judgement: Judgement, paused: str) -> Judgement:
    would = {"action": judgement.action, "triggered_by": judgement.triggered_by, "reason": judgement.reason}
    otherwise = {"nothing": "nothing either", "retrain": "a new model would have been asked for"}.get(
        judgement.action, f"it would have been to {judgement.action}"
    )
    return _nothing(
        f"{paused}. Without the pause: {otherwise}. {judgement.reason}",
        {**judgement.evidence, "paused": paused, "without_the_pause": would},
    )


def _nothing(reason: str, evidence: dict[str, Any] | None = None) -> Judgement:
    return Judgement("nothing", reason, evidence=evidence or {})
