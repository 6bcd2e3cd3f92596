"""This file says which served windows alarm, and what several of them together ask for. All pure."""

from collections.abc import Sequence
from typing import Any, Literal

from include.learning.metrics import gain
from include.monitoring.situation import Champion, Judgement, Served, nothing
from include.policy import Governor

Alarm = Literal["quality", "drift", "calm", "unknown"]


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


def judge_windows(windows: tuple[Served, ...], champion: Champion, policy: Governor) -> Judgement:
    """Say what k of the newest n windows, and the newest, ask for."""
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
        return nothing(f"The newest window is {newest_alarm}: {finding}. {count}.", evidence)
    if len(alarming) < policy.alarming:
        return nothing(f"Not yet: {finding}, but {count}.", evidence)
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
