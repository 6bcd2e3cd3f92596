"""This file decides what is to be done about a model: pure, with a sentence and numbers for every outcome."""

from dataclasses import replace
from datetime import date

from include.monitoring.alarms import alarm_of, judge_windows
from include.monitoring.situation import Champion, Judgement, Situation, nothing
from include.policy import Governor
from include.repairs.estimate import choose


def decide(situation: Situation, policy: Governor) -> Judgement:
    """Say what is to be done after a publication was measured: nothing, or the repair that promises most.

    A pause does not stop the thinking: what would have been asked for is kept in the reason and the evidence.
    """
    judgement = _decide(situation, policy)
    return _held(judgement, situation.paused) if situation.paused else judgement


def _decide(situation: Situation, policy: Governor) -> Judgement:
    champion = situation.champion
    if champion is None:
        return _first(situation, policy)
    if not situation.served_days:
        return nothing("No day of this publication was served by the endpoint: history never asks for a new model.")
    if situation.unfinished:
        return nothing(f"{situation.unfinished[0]} is still on its way: one new model at a time.")
    if not situation.windows:
        return nothing(
            f"Version {champion.version} has not served a day yet: what was served here was another version."
        )
    return _repair(situation, champion, policy)


def _repair(situation: Situation, champion: Champion, policy: Governor) -> Judgement:
    if champion.quality is None:
        return nothing(
            f"Version {champion.version} was not judged by '{policy.metric}' when it was released, so that no window "
            "can be compared with it. Start `train` by hand once, or let `governor.metric` be what it was before."
        )
    if stopped := _stopped(situation, policy):
        return stopped
    alarmed = judge_windows(situation.windows, champion, policy)
    forbidden = _forbidden(situation, champion, policy)
    if situation.estimates and alarmed.triggered_by != "drift":
        return _by_promise(situation, champion, policy, forbidden, alarmed)
    # Labels are missing, so that nothing newer can be estimated: the alarm alone decides.
    if why := forbidden.get("retrain"):
        waiting = nothing(why, alarmed.evidence)
        return waiting if alarmed.action == "nothing" else _told_of(waiting, why)
    return alarmed if alarmed.action != "nothing" else _refresh(situation, champion, policy, alarmed)


def _stopped(situation: Situation, policy: Governor) -> Judgement | None:
    """Return the judgement that a person is called, where one training after another came to nothing."""
    if situation.failures < policy.stop_after:
        return None
    reason = (
        f"{situation.failures} trainings in a row came to nothing (`stop_after`: {policy.stop_after}): nothing is "
        "asked for until a person has looked. Training does not mend what is wrong: look at the data and the "
        "gate's words, then start `train` by hand."
    )
    return replace(nothing(reason), limit="stop_after")


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
        return nothing(reason, evidence)
    if best:
        name = best.action if best.version is None else f"{best.action} version {best.version}"
        reason = f"To {name} promises most. {told} {alarmed.reason}"
        return Judgement(best.action, reason, "quality", best.version, evidence)
    held = " ".join(dict.fromkeys(forbidden[each.action] for each in situation.estimates if each.pays))
    waiting = nothing(f"{held or 'No repair pays.'} {told} {alarmed.reason}", evidence)
    return _told_of(waiting, held) if "retrain" in forbidden else _refresh(situation, champion, policy, waiting)


def _told_of(waiting: Judgement, why: str) -> Judgement:
    """Name the limit of which people are to be told, where a spent budget is why a training waits."""
    return replace(waiting, limit="monthly_hours") if "monthly_hours" in why else waiting


def _refresh(situation: Situation, champion: Champion, policy: Governor, otherwise: Judgement) -> Judgement:
    age = _days_between(champion.network_until, situation.windows[-1].day)
    if policy.refresh_days is None or age < policy.refresh_days:
        return otherwise
    reason = f"Version {champion.version} does not know the last {age} days (`refresh_days`: {policy.refresh_days})."
    return Judgement("retrain", f"{reason} {otherwise.reason}", "schedule", evidence=otherwise.evidence)


def _forbidden(situation: Situation, champion: Champion, policy: Governor) -> dict[str, str]:
    """Return, by action, why it must wait."""
    newest = situation.windows[-1].day
    why = _no_training_yet(situation, champion, policy, newest)
    found = {"retrain": why} if why else {}
    seen = max(champion.judged_until, situation.last_repaired)
    if (age := _days_between(seen, newest)) < policy.repairs.rest_days:
        why = f"Rest: the newest change knows data until {seen}, {age} days before {newest} (`rest_days`)."
        found |= {"recalibrate": why, "reinstate": why}
    return found


def _no_training_yet(situation: Situation, champion: Champion | None, policy: Governor, newest: str) -> str:
    """Return why a training must wait; empty if it need not."""
    if policy.monthly_hours is not None and situation.spent_hours + situation.hours_each > policy.monthly_hours:
        return (
            f"The budget is spent: trainings of the last 30 days took {situation.spent_hours:.2f} h, another "
            f"{situation.hours_each:.2f} h would exceed `monthly_hours` ({policy.monthly_hours:g})."
        )
    this_week = sum(_days_between(day, newest) < 7 for day in situation.trained_on)
    if this_week >= policy.max_trainings_per_week:
        return f"{this_week} trainings were asked for within 7 days (`max_trainings_per_week`)."
    known = champion.network_until if champion else ""
    seen = max(known, situation.last_tried)
    if seen and (age := _days_between(seen, newest)) < policy.cooldown_days:
        who = f"version {champion.version}" if champion and seen == known else "a challenger that came to nothing"
        return (
            f"Cooldown: {who} has seen data until {seen}, {age} days before {newest}; at least "
            f"{policy.cooldown_days} are waited for."
        )
    return ""


def _days_between(first: str, last: str) -> int:
    return (date.fromisoformat(last) - date.fromisoformat(first)).days


def _first(situation: Situation, policy: Governor) -> Judgement:
    rows, needed = situation.published_rows, situation.needed_rows
    if situation.unfinished:
        return nothing(f"There is no champion yet, and {situation.unfinished[0]} is still on its way.")
    if rows < needed:
        return nothing(f"There is no champion yet, and {rows} published rows are too few: a training needs {needed}.")
    if stopped := _stopped(situation, policy):
        return stopped
    if why := _no_training_yet(situation, None, policy, situation.newest_day):
        return _told_of(nothing(f"There is no champion yet. {why}"), why)
    reason = f"There is no champion yet, and {rows} published rows are enough for a first one (at least {needed})."
    return Judgement("retrain", reason, "first", evidence={"published_rows": rows, "needed_rows": needed})


def _held(judgement: Judgement, paused: str) -> Judgement:
    would = {"action": judgement.action, "triggered_by": judgement.triggered_by, "reason": judgement.reason}
    otherwise = {"nothing": "nothing either", "retrain": "a new model would have been asked for"}.get(
        judgement.action, f"it would have been to {judgement.action}"
    )
    return nothing(
        f"{paused}. Without the pause: {otherwise}. {judgement.reason}",
        {**judgement.evidence, "paused": paused, "without_the_pause": would},
    )
