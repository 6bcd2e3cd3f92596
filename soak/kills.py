"""This file kills tasks and services while nights and trainings run, and looks what became of them."""

import os
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import date
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console

from bench.night import deliveries_of_their_own, ingest
from include.demo.airflow_api import Airflow
from include.demo.flights import Deliveries
from include.errors import StackError
from include.ledger import nights, open_ledger
from include.settings import ROOT
from include.stack import Stack, running
from soak import aftermath
from soak.killing import MODEL, NIGHT, Killer, plan
from soak.trial import NEW_DAYS, Story, Trial

PIPELINE = "flight_delays"
# A killed worker is missed after 60 s of silence by default, a killed scheduler's tasks after minutes: that is waited
# for often here.
IMPATIENT = {
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "10",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "3",
    "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "5",
    "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD": "10",
}


def measure(number: int = 100, seed: int = 1, seconds: float = 7200) -> dict[str, Any]:
    """Return what became of `number` kills in nights of real flights.

    :param seconds: after so long no further trial begins.
    """
    story = Story(
        PIPELINE,
        first=date(2013, 1, 25),  # fewer days, and the first model does not pass the gate
        last=date(2013, 2, 28),
        deliver=lambda data, days: Deliveries(data).seed(delivered_until=days[-1]),
        rows_of=_rows_without_airflow,
    )
    with installation({PIPELINE: _flights()}) as (stack, airflow):
        return kill_in(story, stack, airflow, number, seed=seed, seconds=seconds)


def kill_in(  # noqa: PLR0913 - what, where, how often
    story: Story, stack: Stack, airflow: Airflow, number: int, *, seed: int, seconds: float
) -> dict[str, Any]:
    """Return what became of `number` kills: each with its outcome, and what was lost, doubled or left behind.

    About one in five comes too late, when its task has ended, and does not count. Ctrl-C ends the trials early.

    :param seconds: after so long no further trial begins.
    """
    began, console = time.monotonic(), Console()
    trials = plan(2 * number, seed)
    trial = Trial(stack.data, airflow, story)
    usual = trial.undisturbed(num_nights=1 + sum(1 if kills[0].stage in NIGHT else NEW_DAYS for kills in trials))
    killer = Killer(stack, airflow, story.pipeline, usual)
    outcomes: list[dict[str, Any]] = []
    stuck: list[str] = []  # what has not come to rest is lost, and ends the trials
    with suppress(KeyboardInterrupt):
        for position, kills in enumerate(trials):
            if sum(outcome["hit"] for outcome in outcomes) >= number or time.monotonic() - began > seconds:
                break
            try:
                outcome = trial.live_through(kills, killer)
            except (StackError, TimeoutError, httpx.HTTPError) as error:
                stuck.append(f"{kills}: {error}")
                break
            outcomes += outcome
            console.print(position, f"{time.monotonic() - began:.0f} s", outcome)
    found = aftermath.findings(story.pipeline, trial.expected_rows, trial.trainings)
    found["lost"] += stuck
    orphans = aftermath.orphans(story.pipeline)
    return {
        "n": sum(outcome["hit"] for outcome in outcomes),
        "lost": len(found["lost"]),
        "doubled": len(found["doubled"]),
        "disagree": len(found["disagree"]),
        "orphans": len(orphans),
        "seed": seed,
        "nights": trial.nights,
        "trainings": trial.trainings,
        "findings": {**found, "orphans": orphans},
        "kills": outcomes,
    }


@contextmanager
def installation(pipelines: Mapping[str, str], *, is_impatient: bool = True) -> Iterator[tuple[Stack, Airflow]]:
    """Run the services for a folder of their own with these pipelines, YAML by name; all of them can be started."""
    before = dict(os.environ)
    with tempfile.TemporaryDirectory(prefix="evergreen-kills-") as folder:
        os.environ.update(EVERGREEN_DATA=folder, EVERGREEN_PIPELINES=f"{folder}/pipelines")
        for made in ("pipelines", "tmp"):
            (Path(folder) / made).mkdir()
        for name, text in pipelines.items():
            (Path(folder) / "pipelines" / f"{name}.yaml").write_text(text)
        stack = Stack()
        # What is killed leaves its temporary files behind: they go with the folder.
        stack.environment |= (IMPATIENT if is_impatient else {}) | {"TMPDIR": str(Path(folder) / "tmp")}
        os.environ.update(stack.environment)
        try:
            with running(stack, Console()):
                stack.wait_for()
                airflow = Airflow(stack.urls["airflow"], stack.password)
                stages = [f"{name}__{stage}" for name in pipelines for stage in (*NIGHT, *MODEL)]
                airflow.wait_for_dags({"sweep", *stages})
                for name in pipelines:
                    airflow.unpause(f"{name}__ingest")
                yield stack, airflow
        finally:
            os.environ.clear()
            os.environ.update(before)


def _flights() -> str:
    """Return the shipped pipeline, with a gate that lets every challenger pass and nights that are started by hand."""
    text = (ROOT / "config" / "pipelines" / f"{PIPELINE}.yaml").read_text()
    for old, new in {
        "start: 2013-07-08, end: 2013-07-18": "start: 2013-01-25, end: 2013-01-25",
        "epochs: 5": "epochs: 2",
        "gate: {metric: auc, margin: 0.01}": "gate: {metric: auc, margin: 1, min_gain: -1}",
        "cooldown_days: 7": "cooldown_days: 1000",
    }.items():
        if old not in text:
            raise ValueError(f"{PIPELINE}.yaml has no '{old}' any more: change this trial, too.")
        text = text.replace(old, new)
    return text


def _rows_without_airflow(days: list[str]) -> dict[str, int]:
    """Return the rows of every day, from the same stage functions in one undisturbed go."""
    with deliveries_of_their_own("reference"):
        ingest(days, "reference")
        with open_ledger() as session:
            return {row.day: row.rows for row in nights.partitions_of(session, PIPELINE)}
