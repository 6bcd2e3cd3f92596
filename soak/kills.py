"""This file kills tasks and services while nights and trainings run, and looks what became of them."""

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from rich.console import Console

from bench.night import deliveries_of_their_own, ingest
from include.demo.airflow_api import Airflow, wait_until
from include.demo.flights import Deliveries
from include.errors import StackError
from include.ledger import nights, open_ledger, releases, requests
from include.partition import days_between
from include.settings import ROOT
from include.stack import Stack, running
from soak import aftermath
from soak.killing import ENDED, MODEL, NIGHT, Kill, Killer, plan

PIPELINE = "flight_delays"
HISTORY = (date(2013, 1, 25), date(2013, 2, 28))  # less, and the first model does not pass the gate
# A killed worker is missed after 60 s of silence by default, a killed scheduler's tasks after minutes: that is waited
# for often here.
IMPATIENT = {
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "10",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "3",
    "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "5",
    "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD": "10",
}
SETTLE_SECONDS = 400
SWEEP_AFTER_SECONDS = 30


def measure(number: int = 100, seed: int = 1, seconds: float = 7200) -> dict[str, Any]:
    """Return what became of `number` kills: each with its outcome, and what was lost, doubled or left behind.

    About one in five comes too late, when its task has ended, and does not count. Ctrl-C ends the trials early.

    :param seconds: after so long no further trial begins.
    """
    began = time.monotonic()
    console = Console()
    trials = plan(2 * number, seed)
    with installation() as (stack, airflow):
        trial = Trial(stack, airflow)
        usual = trial.undisturbed(num_nights=1 + sum(kills[0].stage in NIGHT for kills in trials))
        killer = Killer(stack, airflow, PIPELINE, usual)
        outcomes: list[dict[str, Any]] = []
        stuck: list[str] = []  # what has not come to rest is lost, and ends the trials
        with suppress(KeyboardInterrupt):
            for position, kills in enumerate(trials):
                if sum(outcome["hit"] for outcome in outcomes) >= number or time.monotonic() - began > seconds:
                    break
                try:
                    outcome = trial.live_through(kills, killer)
                except (StackError, TimeoutError) as error:
                    stuck.append(f"{kills}: {error}")
                    break
                outcomes += outcome
                console.print(position, f"{time.monotonic() - began:.0f} s", outcome)
        found = aftermath.findings(PIPELINE, trial.expected_rows, trial.trainings)
        found["lost"] += stuck
        orphans = aftermath.orphans(PIPELINE)
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
def installation() -> Iterator[tuple[Stack, Airflow]]:
    """Run the services for a folder of their own, with a gate that lets every challenger pass."""
    with tempfile.TemporaryDirectory(prefix="evergreen-kills-") as folder:
        os.environ.update(EVERGREEN_DATA=folder, EVERGREEN_PIPELINES=f"{folder}/pipelines")
        _write_pipeline(Path(folder) / "pipelines")
        stack = Stack()
        stack.environment |= IMPATIENT
        os.environ.update(stack.environment)
        with running(stack, Console()):
            stack.wait_for()
            airflow = Airflow(stack.urls["airflow"], stack.password)
            airflow.wait_for_dags({f"{PIPELINE}__{stage}" for stage in (*NIGHT, *MODEL)} | {"sweep"})
            airflow.unpause(f"{PIPELINE}__ingest")
            yield stack, airflow


def _write_pipeline(folder: Path) -> None:
    folder.mkdir()
    text = (ROOT / "config" / "pipelines" / f"{PIPELINE}.yaml").read_text()
    for old, new in {
        "start: 2013-07-08, end: 2013-07-21": "start: 2013-01-25, end: 2013-01-25",  # nights are started by hand here
        "epochs: 5": "epochs: 2",
        "gate: {metric: auc, margin: 0.01}": "gate: {metric: auc, margin: 1, min_gain: -1}",
        "cooldown_days: 7": "cooldown_days: 1000",
    }.items():
        if old not in text:
            raise ValueError(f"{PIPELINE}.yaml has no '{old}' any more: change this trial, too.")
        text = text.replace(old, new)
    (folder / f"{PIPELINE}.yaml").write_text(text)


class Trial:
    """Lives through nights and trainings, one after another, while somebody kills."""

    def __init__(self, stack: Stack, airflow: Airflow) -> None:
        self._airflow = airflow
        self._data = stack.data
        self._reference: dict[str, int] = {}
        self.expected_rows: dict[str, int] = {}
        self.nights = 0
        self.trainings = 0

    def undisturbed(self, num_nights: int) -> dict[tuple[str, str], float]:
        """Live once through everything, and return how long each task takes when it is left alone.

        :param num_nights: how many nights there may be in all.
        """
        Deliveries(self._data).seed(delivered_until="2013-12-31")
        self._reference = _rows_without_airflow(HISTORY[1] + timedelta(days=num_nights))
        since = _now()
        self._airflow.trigger(f"{PIPELINE}__ingest", first=HISTORY[0].isoformat(), last=HISTORY[1].isoformat())
        self.trainings = 1
        self._settle(since)
        with open_ledger() as session:
            self.expected_rows = {row.day: row.rows for row in nights.partitions_of(session, PIPELINE)}
            if releases.champion_of(session, PIPELINE) is None:
                raise StackError("The first model did not pass the gate: nothing would be deployed in these trials.")
        self._begin_night()
        self._settle(since)
        return {
            (stage, task["task_id"]): float(task["duration"])
            for stage in (*NIGHT, *MODEL)
            for task in self._airflow.tasks_since(f"{PIPELINE}__{stage}", since)
            if task["duration"]
        }

    def live_through(self, kills: list[Kill], killer: Killer) -> list[dict[str, Any]]:
        """Start a night or a training, kill as planned, wait until all is quiet, and say how each kill ended."""
        since = _now()
        if kills[0].stage in NIGHT:
            self._begin_night()
        else:
            self._begin_training()
        hits = [killer.strike(kill, since) for kill in kills]
        struck = time.monotonic()
        self._settle(since)
        seconds = round(time.monotonic() - struck, 1)
        return [{**vars(kill), "hit": hit, "quiet_after": seconds} for kill, hit in zip(kills, hits, strict=True)]

    def _begin_night(self) -> None:
        day = (HISTORY[1] + timedelta(days=1 + self.nights)).isoformat()
        self.nights += 1
        self.expected_rows[day] = self._reference[day]
        self._airflow.trigger(f"{PIPELINE}__ingest", first=day, last=day)

    def _begin_training(self) -> None:
        self.trainings += 1
        self._airflow.trigger(f"{PIPELINE}__train", reason="soak", window_days=20, epochs=1)

    def _settle(self, since: str) -> None:
        """Wait until every run has ended and the ledger holds nothing unfinished; let `sweep` help, as it does."""
        swept = time.monotonic()

        def is_quiet() -> bool:
            nonlocal swept
            is_late = time.monotonic() - swept > SWEEP_AFTER_SECONDS
            if _unfinished() and not is_late:
                return False  # without asking Airflow: its answers cost the processor that its tasks need
            running_now = [
                task
                for stage in (*NIGHT, *MODEL)
                for task in self._airflow.tasks_since(f"{PIPELINE}__{stage}", since)
                if task["state"] not in ENDED
            ]
            if not running_now and not _unfinished():
                return True
            if not running_now and is_late:
                self._airflow.trigger("sweep", patience_seconds=5)
                swept = time.monotonic()
            return False

        wait_until(is_quiet, SETTLE_SECONDS, lambda: f"not quiet: {_unfinished()}")


def _rows_without_airflow(last: date) -> dict[str, int]:
    """Return the rows of every night there may be, from the same stage functions in one undisturbed go."""
    with deliveries_of_their_own("reference"):
        ingest(days_between(HISTORY[1] + timedelta(days=1), last), "reference")
        with open_ledger() as session:
            return {row.day: row.rows for row in nights.partitions_of(session, PIPELINE)}


def _unfinished() -> list[str]:
    with open_ledger() as session:
        waiting = nights.waiting_publications(session, PIPELINE, older_than_seconds=0)
        moving = releases.releases_of(session, PIPELINE, "candidate", "approved", "promoting")
        return [row.id for row in (*waiting, *requests.unfinished_requests(session, PIPELINE), *moving)]


def _now() -> str:
    return datetime.now(UTC).isoformat()
