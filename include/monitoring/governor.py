"""This file decides whether a model is to be replaced: pure, with a sentence and numbers for every outcome."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Literal

from include.learning.metrics import gain
from include.policy import Governor

Alarm = Literal["quality", "drift", "calm", "unknown"]


@dataclass(frozen=True)
class Champion:
    """The release in service, as far as it matters here."""

    version: int
    quality: float | None  # on its own hold-out, in the metric the policy watches; None if that was not measured then
    judged_until: str


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
    last_tried: str = ""  # newest day that a challenger which came to nothing was asked for
    paused: str = ""  # since when, by whom and why; empty where nothing is paused


@dataclass(frozen=True)
class Judgement:
    """What is to be done, and why."""

    action: Literal["nothing", "retrain"]
    reason: str
    triggered_by: str = ""  # first | quality | drift, where something is to be done
    evidence: dict[str, Any] = field(default_factory=dict)


def decide(situation: Situation, policy: Governor) -> Judgement:
    """Say whether a new model is to be trained, after a publication was measured.

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
    if champion.quality is None:
        return _nothing(
            f"Version {champion.version} was not judged by '{policy.metric}' when it was released, so that no window "
            "can be compared with it. Start `train` by hand once, or let `governor.metric` be what it was before."
        )
    newest = situation.windows[-1]
    seen = max(champion.judged_until, situation.last_tried)
    age = (date.fromisoformat(newest.day) - date.fromisoformat(seen)).days
    if age < policy.cooldown_days:
        who = f"version {champion.version}" if seen == champion.judged_until else "a challenger that came to nothing"
        return _nothing(
            f"Cooldown: {who} has seen data until {seen}, {age} days before {newest.day}; at least "
            f"{policy.cooldown_days} are waited for."
        )
    return _judge(situation.windows, champion, policy)


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
    return Judgement("retrain", reason, "first", {"published_rows": rows, "needed_rows": needed})


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
    return Judgement("retrain", reason, newest_alarm, evidence)


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
    otherwise = "a new model would have been asked for" if judgement.action == "retrain" else "nothing either"
    return _nothing(
        f"{paused}. Without the pause: {otherwise}. {judgement.reason}",
        {**judgement.evidence, "paused": paused, "without_the_pause": would},
    )


def _nothing(reason: str, evidence: dict[str, Any] | None = None) -> Judgement:
    return Judgement("nothing", reason, evidence=evidence or {})
