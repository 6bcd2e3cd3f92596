"""This file measures what each policy would have made of 2013, and whether the governor's alarms were worth it.

The thresholds in `config/pipelines/flight_delays.yaml` were chosen on March to July; August to December was not looked
at for that.
"""

import os
import tempfile
from datetime import date
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console

from bench.night import PIPELINE, deliveries_of_their_own, ingest
from bench.record import write_down
from include.config import load_pipeline
from include.partition import days_between
from include.replay.history import History, Models, load_history
from include.replay.report import draw, false_alarms, numbers, replay, table_of
from include.settings import ROOT

RESULTS = Path(__file__).parent / "replay.json"
PICTURE = ROOT / "docs" / "images" / "replay.png"
FIRST, LAST, HELD_BACK = "2013-03-01", "2013-12-30", "2013-08-01"
GOVERNORS = ("governor", "governor:retrain", "governor:recalibrate", "governor:recalibrate+retrain")
DRAWN = ("static", "weekly", "governor")
PHASES = 4
SHUFFLES = (1,)


def measure() -> None:
    """Replay the year under every policy and write bench/replay.json and the picture."""
    kept = os.environ.get("EVERGREEN_DATA")
    with tempfile.TemporaryDirectory(prefix="evergreen-replay-") as folder:
        os.environ["EVERGREEN_DATA"] = kept or folder
        with deliveries_of_their_own("replay"):
            ingest(days_between(date(2013, 1, 1), date.fromisoformat(LAST)), "replay")
            found = _compare(Path(os.environ["EVERGREEN_DATA"]) / "answers")
    for name, each in found.items():
        write_down(RESULTS, name, each)


def _compare(folder: Path) -> dict[str, Any]:
    pipeline = load_pipeline(PIPELINE)
    history = load_history(pipeline, FIRST, LAST)
    models = Models(history, folder)
    lived = {name: replay(history, models, name, FIRST, LAST) for name in ("static", "weekly", *GOVERNORS)}
    Console().print(table_of({name: numbers(each.told) for name, each in lived.items()}, f"{FIRST} to {LAST}"))
    draw([lived[name] for name in DRAWN], PICTURE)
    governed = numbers(lived["governor"].told)
    return {
        **{name: {"all": numbers(each.told), "aug_dec": numbers(each.told, HELD_BACK)} for name, each in lived.items()},
        "calendars": _calendars(history, models, int(governed["trainings"])),
        "false_alarm": {**false_alarms(lived["governor"]), **_driftless(folder)},
        "decisions": [
            {name: event[name] for name in ("day", "action", "done", "reason")}
            for event in lived["governor"].told.events
        ],
    }


def _calendars(history: History, models: Models, trainings: int) -> dict[str, Any]:
    """Return the median over phases of calendars with about as many trainings as the governor, or fewer."""
    days = sum(FIRST <= day <= LAST for day in history.names)
    found = {}
    for number in sorted({max(2, trainings), max(2, trainings * 2 // 3)}, reverse=True):
        every = -(-days // number)
        phases = [
            replay(history, models, f"every:{every}", FIRST, LAST, offset=phase * every // PHASES)
            for phase in range(PHASES)
        ]
        found[f"every:{every}"] = {
            part: median(numbers(each.told, first)["log_loss"] for each in phases)
            for part, first in (("all", ""), ("aug_dec", HELD_BACK))
        } | {"trainings": max(numbers(each.told)["trainings"] for each in phases)}
    return found


def _driftless(folder: Path) -> dict[str, Any]:
    """Return what is asked for in 300 nights whose days were dealt out anew: nothing drifts there."""
    asked, cheap = [], []
    for seed in SHUFFLES:
        history = load_history(load_pipeline(PIPELINE), FIRST, LAST, shuffle_seed=seed)
        told = replay(history, Models(history, folder), "governor", FIRST, LAST).told
        nights = len(told.days) / 300
        asked.append(sum(event["action"] == "retrain" for event in told.events) / nights)
        cheap.append(sum(event["action"] != "retrain" for event in told.events) / nights)
    return {
        "driftless_requests_per_300": round(sum(asked) / len(asked), 2),
        "driftless_cheap_repairs_per_300": round(sum(cheap) / len(cheap), 2),
        "driftless_seeds": len(SHUFFLES),
    }
