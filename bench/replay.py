"""This file measures what each policy would have made of 2013, and whether the governor's alarms were worth it.

The thresholds in `config/pipelines/flight_delays.yaml` were chosen on March to July; August to December was not looked
at for that.
"""

import os
import tempfile
from dataclasses import replace
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
from include.replay.simulate import Replay
from include.settings import ROOT

RESULTS = Path(__file__).parent / "replay.json"
PICTURE = ROOT / "docs" / "images" / "replay.png"
FIRST, LAST, HELD_BACK = "2013-03-01", "2013-12-30", "2013-08-01"
GOVERNORS = ("governor", "governor:retrain", "governor:recalibrate", "governor:recalibrate+retrain")
DRAWN = ("static", "weekly", "governor")
PHASES = 6
SHUFFLES = (1, 2, 3, 4, 5, 6)


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
    # The shipped gate sees the order of answers only, and retraining alone is to mend their level, too.
    gate = pipeline.gate.model_copy(update={"metric": "log_loss"})
    by_loss = replace(history, pipeline=pipeline.model_copy(update={"gate": gate}))
    lived["governor:retrain, gate by log_loss"] = replay(by_loss, models, "governor:retrain", FIRST, LAST)
    Console().print(table_of({name: numbers(each.told) for name, each in lived.items()}, f"{FIRST} to {LAST}"))
    draw([lived[name] for name in DRAWN], PICTURE)
    governed = numbers(lived["governor"].told)
    return {
        **{name: _parts(each) for name, each in lived.items()},
        "calendar_median_same_retrains": _calendars(history, models, int(governed["trainings"])),
        "false_alarm": {**false_alarms(lived["governor"]), **_driftless(folder)},
        "decisions": [
            {name: event[name] for name in ("day", "action", "done", "reason")}
            for event in lived["governor"].told.events
        ],
    }


def _parts(lived: Replay) -> dict[str, dict[str, float]]:
    return {"all": numbers(lived.told), "aug_dec": numbers(lived.told, HELD_BACK)}


def _calendars(history: History, models: Models, trainings: int) -> dict[str, Any]:
    """Return the median over phases of the calendar with as many trainings as the governor, and of those with fewer."""
    same, *fewer = (_calendar(history, models, number) for number in range(max(2, trainings), 1, -1))
    return {**same, "fewer": fewer}


def _calendar(history: History, models: Models, number: int) -> dict[str, Any]:
    days = sum(FIRST <= day <= LAST for day in history.names)
    every = -(-days // number)
    phases = [
        _parts(replay(history, models, f"every:{every}", FIRST, LAST, offset=phase * every // PHASES))
        for phase in range(PHASES)
    ]
    return {
        "every_days": every,
        "phases": PHASES,
        "trainings": max(found["all"]["trainings"] for found in phases),
        "log_loss": median(found["all"]["log_loss"] for found in phases),
        "aug_dec_log_loss": median(found["aug_dec"]["log_loss"] for found in phases),
    }


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
