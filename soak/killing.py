"""This file says what is killed and when, finds the process, and kills it: `kill -9`, no warning."""

import random
import time
from dataclasses import dataclass
from itertools import product
from typing import Any
from xmlrpc.client import ServerProxy

import psutil
from supervisor.xmlrpc import SupervisorTransport

from include.demo.airflow_api import Airflow, wait_until
from include.stack import Stack

NIGHT = {"ingest": ("land", "clean", "validate", "publish"), "monitor": ("collect", "measure", "decide")}
MODEL = {"train": ("claim_request", "train", "evaluate", "register"), "deploy": ("verify", "try_out", "promote")}
# A task that has ended has no process left to kill; a service may die on that boundary, too.
MOMENTS = {
    "task": ("begin", "middle"),
    "supervisor": ("begin", "middle"),
    "scheduler": ("begin", "middle", "end"),
    "endpoint": ("begin", "middle", "end"),
    "spark": ("begin", "middle", "end"),
}
SERVICES = {"scheduler": "airflow:scheduler", "endpoint": "endpoint", "spark": "spark"}
ENDED = {"success", "failed", "skipped", "upstream_failed", "removed"}
START_SECONDS = 240
KILLS_A_TRIAL = 3


@dataclass(frozen=True)
class Kill:
    """One kill: of what, and at which moment of which task."""

    stage: str
    task: str
    target: str
    moment: str
    fraction: float  # of the task's usual duration, where the moment is its middle


def plan(number: int, seed: int) -> list[list[Kill]]:
    """Return trials of up to three kills, each of one night or of one model; together they walk through the matrix."""
    dice = random.Random(seed)  # noqa: S311 - a plan that can be repeated, not a secret
    trials: list[list[Kill]] = []
    while sum(map(len, trials)) < number:
        walk = [trial for flow in (NIGHT, MODEL) for trial in _trials(flow, dice)]
        dice.shuffle(walk)
        trials += walk
    kept: list[list[Kill]] = []
    while (missing := number - sum(map(len, kept))) > 0:
        kept.append(trials[len(kept)][:missing])
    return kept


def _trials(flow: dict[str, tuple[str, ...]], dice: random.Random) -> list[list[Kill]]:
    """Return every kill of a flow once, up to three of different tasks together, in the order of their tasks."""
    places = [(stage, task) for stage, tasks in flow.items() for task in tasks]
    matrix = [
        Kill(*place, target, moment, round(dice.uniform(0.1, 0.9), 2))
        for place, target in product(places, MOMENTS)
        for moment in MOMENTS[target]
    ]
    dice.shuffle(matrix)
    trials = []
    while matrix:
        chosen: list[Kill] = []
        for kill in matrix:
            if len(chosen) < KILLS_A_TRIAL and kill.task not in {each.task for each in chosen}:
                chosen.append(kill)
        for kill in chosen:
            matrix.remove(kill)
        trials.append(sorted(chosen, key=lambda kill: places.index((kill.stage, kill.task))))
    return trials


class Killer:
    """Strikes at tasks of running DAGs and at the services they need.

    :param stack: the running services.
    :param airflow: its API.
    :param usual_seconds: how long each task takes when nobody disturbs it, by (stage, task).
    """

    def __init__(
        self, stack: Stack, airflow: Airflow, pipeline_name: str, usual_seconds: dict[tuple[str, str], float]
    ) -> None:
        self._stack = stack
        self._airflow = airflow
        self._pipeline = pipeline_name
        self._usual_seconds = usual_seconds

    def strike(self, kill: Kill, since: str) -> bool:
        """Wait for the kill's moment in the run that began after `since`; return whether there was something to kill.

        :raises StackError: if the task does not begin.
        """
        task = self._wait_for(kill, since, {"running", *ENDED})
        if kill.moment == "end":
            task = self._wait_for(kill, since, ENDED)
        elif kill.moment == "middle":
            time.sleep(self._usual_seconds[kill.stage, kill.task] * kill.fraction)  # the moment itself, not a wait
        if kill.target in SERVICES:
            return kill_service(self._stack, SERVICES[kill.target])
        return _kill_task(int(task["pid"] or 0), is_supervisor=kill.target == "supervisor")

    def _wait_for(self, kill: Kill, since: str, states: set[str]) -> dict[str, Any]:
        found: list[dict[str, Any]] = []

        def has_come() -> bool:
            nonlocal found
            found = [
                task
                for task in self._airflow.tasks_since(f"{self._pipeline}__{kill.stage}", since)
                if task["task_id"] == kill.task and task["state"] in states and (task["pid"] or task["end_date"])
            ]
            return bool(found)

        wait_until(has_come, START_SECONDS, lambda: f"{kill} has not become one of {sorted(states)}")
        return found[0]


def kill_service(stack: Stack, name: str) -> bool:
    """Kill a service of the supervisor's; return whether there was one to kill."""
    socket = f"unix://{stack.data / 'run' / 'supervisor.sock'}"
    server: Any = ServerProxy("http://127.0.0.1", transport=SupervisorTransport(None, None, socket))
    pid = server.supervisor.getProcessInfo(name)["pid"]
    return _kill(psutil.Process(pid)) if pid else False


def _kill_task(pid: int, *, is_supervisor: bool) -> bool:
    try:
        process = psutil.Process(pid)
        parent = process.parent()
        if "airflow worker" not in " ".join(process.cmdline()) or parent is None:
            return False  # it has ended, and its number is another's
        return _kill(parent if is_supervisor else process)
    except psutil.NoSuchProcess:
        return False


def _kill(process: psutil.Process) -> bool:
    try:
        process.kill()
    except psutil.NoSuchProcess:
        return False
    process.wait(10)
    return True
