"""This file runs replays and says what came of them: numbers per policy, a table and a plot."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from include.learning.metrics import GOVERNOR_DEFAULT
from include.replay.history import History, Models
from include.replay.policies import policy_of
from include.replay.simulate import Replay, Told, gains_afterwards

GAIN_DAYS = 14  # gains within a single week are often inside the noise
_MARKS = {"retrain": "v", "recalibrate": ".", "reinstate": "*"}


def replay(history: History, models: Models, name: str, first: str, last: str, *, offset: int = 0) -> Replay:
    """Live through the days from `first` to `last` under a policy, and return all that is known of it."""
    served = history.served(first, last)
    begin, end = history.index[served[0]], history.index[served[-1]]
    lived = Replay(history, models, policy_of(name, history.pipeline, offset=offset), begin, end)
    lived.run()
    return lived


def numbers(told: Told, first: str = "", last: str = "~") -> dict[str, float]:
    """Return a policy's mean daily loss and AUC over a range of days, what was done in it, and the whole cost."""
    kept = [place for place, day in enumerate(told.days) if first <= day <= last]
    decided = [event for event in told.events if first <= event["day"] <= last]
    aucs = np.array([told.auc[place] for place in kept])
    return {
        "log_loss": round(float(np.mean([told.loss[place] for place in kept])), 5),
        "auc": round(float(np.nanmean(aucs)), 5) if np.isfinite(aucs).any() else float("nan"),
        "trainings": sum(event["action"] == "retrain" for event in decided) + (first <= told.days[0]),
        "recalibrations": sum(event["action"] == "recalibrate" and event["done"] for event in decided),
        "reinstatements": sum(event["action"] == "reinstate" and event["done"] for event in decided),
        "refused": sum(not event["done"] for event in decided),
        "networks_fitted": told.networks,
        "compute_seconds": round(told.seconds, 1),
    }


def false_alarms(lived: Replay) -> dict[str, Any]:
    """Return how many of the trainings asked for gained nothing over the next two weeks; what was refused did not."""
    gains = [each for each in gains_afterwards(lived, GAIN_DAYS) if each["action"] == "retrain"]
    refused = sum(event["action"] == "retrain" and not event["done"] for event in lived.told.events)
    in_vain = sum(each["gain"] <= 0 for each in gains) + refused
    asked = len(gains) + refused
    return {
        "asked": asked,
        "in_vain": in_vain,
        "share": round(in_vain / asked, 3) if asked else 0.0,
        "gains": [{**each, "gain": round(each["gain"], 5)} for each in gains],
    }


def as_dict(lived: Replay) -> dict[str, Any]:
    """Return a replay as JSON can hold it: numbers, nights, decisions, and what the trainings gained afterwards."""
    told = lived.told
    return {
        **numbers(told),
        "false_alarm": false_alarms(lived),
        "nights": [
            {"day": day, "loss": round(loss, 5), "rows": rows}
            for day, loss, rows in zip(told.days, told.loss, told.rows, strict=True)
        ],
        "decisions": [{name: event[name] for name in ("day", "action", "done", "reason")} for event in told.events],
    }


def decisions_of(lived: Replay) -> list[str]:
    """Return what a governor did, a line each; nothing for a calendar."""
    if lived.policy.governor is None:
        return []
    gains = {each["day"]: each["gain"] for each in gains_afterwards(lived, GAIN_DAYS)}
    lines = []
    for event in lived.told.events:
        gain = gains.get(event["day"])
        came = "refused by the gate" if not event["done"] else "" if gain is None else f"gained {gain:+.4f} in 14 days"
        lines.append(f"{event['day']} {event['action']}, {came or 'too new to be judged'}: {event['reason']}")
    return [f"{lived.policy.name}:" if lines else f"{lived.policy.name}: decided to do nothing on all days.", *lines]


def table_of(found: dict[str, dict[str, float]], title: str) -> Table:
    """Return the policies' numbers for people, the best first."""
    table = Table(title=title, title_justify="left")
    for column in ("policy", "loss", "AUC", "trained", "recalib.", "reinst.", "compute"):
        table.add_column(column, justify="left" if column == "policy" else "right", overflow="fold")
    for name, each in sorted(found.items(), key=lambda item: item[1]["log_loss"]):
        table.add_row(
            name,
            f"{each['log_loss']:.4f}",
            f"{each['auc']:.4f}",
            *(f"{each[what]:.0f}" for what in ("trainings", "recalibrations", "reinstatements")),
            f"{each['compute_seconds']:.0f} s",
        )
    return table


def draw(replays: Sequence[Replay], path: Path, *, smooth_days: int = 14) -> None:
    """Draw each policy's loss over time, with a mark where something was done."""
    from matplotlib.figure import Figure  # noqa: PLC0415  a replay without a picture needs none

    figure = Figure(figsize=(10, 4.5), layout="constrained")
    axes = figure.subplots()
    for lived in replays:
        told = lived.told
        days = np.array(told.days, dtype="datetime64[D]")
        kernel = np.ones(smooth_days)
        weight = np.convolve(np.ones(len(days)), kernel)[: len(days)]
        loss = np.convolve(told.loss, kernel)[: len(days)] / weight
        (line,) = axes.plot(days, loss, label=f"{told.policy}: {np.mean(told.loss):.4f}", linewidth=1.6)
        for event in told.events if lived.policy.governor else ():
            place = told.days.index(event["day"])
            mark = _MARKS[event["action"]] if event["done"] else "x"
            axes.plot(days[place], loss[place], mark, color=line.get_color(), markersize=9 if mark != "." else 6)
    metric = GOVERNOR_DEFAULT[replays[0].training.task].replace("_", "-")
    axes.set_ylabel(f"{metric}, mean of {smooth_days} days")
    axes.set_title("Governor: ▼ retrained, ● recalibrated, ★ former champion put back, × refused", fontsize=10)
    axes.legend(title="mean of all days", frameon=False)
    axes.grid(alpha=0.3)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120, format="png")  # by the name alone, 'x' became 'x.png', and 'x.y' an error
