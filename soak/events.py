"""This file asks for a thousand trainings by every door, sends some twice, loses wake-ups, kills the scheduler."""

import json
import os
import random
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import redis
from rich.console import Console
from sqlalchemy import select
from tenacity import Retrying, stop_after_delay, wait_fixed

from include import messages
from include.demo.airflow_api import Airflow, wait_until
from include.ledger import Request, open_ledger
from include.messages import Message
from include.process import die_with_parent
from include.stack import SUPERVISOR, Stack, running
from soak.killing import kill_service

YAML = """
description: Asks for models it has no data for.
owner: nobody
schedule: {start: 2100-01-01}
key: ride
date: day
source: {events: {path: "rides/{date}.csv"}}
cleaning:
  columns: {ride: string, day: date, distance: double, late: boolean}
  deduplicate: {by: [ride], order: [source_row]}
expectations: []
training: {target: late, features: {numeric: [distance]}}
"""
PIPELINES = ("north", "south")
QUEUE = "retrain"
UNUSED = ("spark", "endpoint", "mlflow")
KILLED = ("airflow:scheduler", "airflow:scheduler", "airflow:triggerer")  # in turn, one a wave
# What a killed scheduler has left is looked for more often than by default. Time-outs stay long: on a machine that is
# busy with other things a task that is only slow would be taken for dead, over and over.
SETTINGS = {
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "5",
    "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "15",
}
SETTLE_SECONDS = 3600
ASK_SECONDS = 600


@dataclass(frozen=True)
class Event:
    """One wish for a training, and by which door it comes."""

    number: int
    pipeline: str
    door: str  # queue | rest | lost: filed, and its wake-up lost
    times: int  # how often it is sent
    echoes: int  # how often its wake-up is repeated afterwards

    @property
    def request_id(self) -> str:
        """Return the request that this wish is to become: exactly one, however often it is sent."""
        return f"{self.pipeline}.{'hand' if self.door == 'rest' else 'message'}.e{self.number}"


def plan(number: int, seed: int) -> list[Event]:
    """Return the events of a trial, in the order they are sent."""
    dice = random.Random(seed)  # noqa: S311 - a plan that can be repeated, not a secret
    return [
        Event(
            number=each,
            pipeline=dice.choice(PIPELINES),
            door=dice.choices(("queue", "rest", "lost"), weights=(70, 15, 15))[0],
            times=dice.choices((1, 2, 3), weights=(75, 20, 5))[0],
            echoes=dice.choices((0, 1), weights=(80, 20))[0],
        )
        for each in range(number)
    ]


def measure(number: int = 1000, seed: int = 1) -> dict[str, Any]:
    """Return how many of `number` events were lost (never brought to an end) or doubled (trained for by two runs).

    What runs is real: Redis, the triggerer, the scheduler, claims, and the training's beginning. That ends at once, as
    these pipelines have no data: what is tried here is that each event leads to one training, not the training.
    """
    with tempfile.TemporaryDirectory(prefix="evergreen-events-") as folder, installation(Path(folder)) as (stack, port):
        return try_out(Trial(stack, port), plan(number, seed), waves=10) | {"seed": seed}


def try_out(trial: "Trial", events: Sequence[Event], *, waves: int) -> dict[str, Any]:
    """Send events in waves, in each of which something is killed, and return what became of them."""
    began = time.monotonic()
    for wave in range(waves):
        trial.send(events[wave::waves])
        kill_service(trial.stack, KILLED[wave % len(KILLED)])
        trial.settle(events[wave::waves], share=0.7)  # the next wave comes while this one is still worked on
    trial.settle(events)
    runs, ended = trial.runs_that_trained(), trial.ended()
    lost = [event.request_id for event in events if event.request_id not in ended]
    doubled = [key for key, count in runs.items() if count > 1]
    unasked = sorted(ended - {event.request_id for event in events})
    return {
        "injected": len(events),
        "lost": len(lost),
        "doubled": len(doubled) + len(unasked),
        "sent": sum(event.times for event in events),
        "by_door": dict(Counter(event.door for event in events)),
        "wake_ups_lost": sum(event.door == "lost" for event in events),
        "wake_ups_repeated": sum(event.echoes for event in events),
        "killed": dict(Counter(KILLED[wave % len(KILLED)] for wave in range(waves))),
        "rest_calls_repeated": trial.asked_again,
        "minutes": round((time.monotonic() - began) / 60, 1),
        "findings": {"lost": lost, "doubled": doubled, "unasked": unasked},
    }


@contextmanager
def installation(folder: Path, more: Mapping[str, str] | None = None) -> Iterator[tuple[Stack, int]]:
    """Run Airflow and a Redis server for a folder of their own, with pipelines that share a queue and have no data.

    :param more: by name of a further pipeline, what else its YAML says.
    """
    os.environ.update(EVERGREEN_DATA=str(folder), EVERGREEN_PIPELINES=str(folder / "pipelines"))
    for made in ("pipelines", "tmp"):
        (folder / made).mkdir()
    for name, also in {**dict.fromkeys(PIPELINES, ""), **(more or {})}.items():
        listening = f"{YAML}\nevents: {{connection: retrain_queue, queue: {QUEUE}}}\n{also}\n"
        (folder / "pipelines" / f"{name}.yaml").write_text(listening)
    port = _free_port()
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, preexec_fn=die_with_parent)  # noqa: PLW1509
    stack = Stack()
    # What is killed leaves its temporary files behind: they go with the folder.
    own = {"AIRFLOW_CONN_RETRAIN_QUEUE": f"redis://127.0.0.1:{port}", "TMPDIR": str(folder / "tmp")}
    stack.environment |= SETTINGS | own
    os.environ.update(stack.environment)
    try:
        with running(stack, Console()):
            stack.run("supervisorctl", "-c", str(SUPERVISOR), "stop", *UNUSED)
            stack.run("airflow", "pools", "set", "training", "8", "Nothing is trained here")
            stack.wait_for("Airflow")
            yield stack, port
    finally:
        server.terminate()
        server.wait()


class Trial:
    """Sends events, and looks what became of them.

    :param sweep_seconds: how often `sweep` runs, and how long a request has to wait until it is woken again.
    """

    def __init__(self, stack: Stack, port: int, sweep_seconds: int = 120) -> None:
        self._sweep_seconds = sweep_seconds
        self.stack = stack
        self._airflow = Airflow(stack.urls["airflow"], stack.password)
        self._queue = redis.Redis(port=port)
        self.asked_again = 0
        self._airflow.wait_for_dags({f"{name}__train" for name in PIPELINES} | {"sweep"})

    def send(self, events: Sequence[Event]) -> None:
        """Send events by their doors, each as often as planned; then repeat some wake-ups."""
        for event in events:
            for _ in range(event.times):
                self._send(event)
        for event in (event for event in events if event.echoes and event.door == "queue"):
            self._insist(self._airflow.emit, f"{event.pipeline}.retrain", event.request_id)

    def _send(self, event: Event) -> None:
        wish = {"pipeline": event.pipeline, "reason": "soak", "id": f"e{event.number}"}
        match event.door:
            case "queue":
                self._queue.xadd(QUEUE, {"body": json.dumps(wish)})
            case "lost":  # as when the listener dies between its commit and its event
                messages.take(QUEUE, PIPELINES, [Message(str(event.number), json.dumps(wish), "")])
            case _:
                dag_id = f"{event.pipeline}__train"
                self._insist(self._airflow.trigger, dag_id, f"e{event.number}", reason="soak", force=True)

    def _insist(self, ask: Callable[..., Any], *what: str, **conf: Any) -> Any:
        """Ask Airflow until it says yes, or that this was done already: as any sender must."""
        for attempt in Retrying(wait=wait_fixed(1), stop=stop_after_delay(ASK_SECONDS), reraise=True):
            with attempt:
                try:
                    return ask(*what, **conf)
                except httpx.HTTPStatusError as error:
                    if error.response.status_code != httpx.codes.CONFLICT:
                        self.asked_again += 1
                        raise
        return None

    def settle(self, events: Sequence[Event], share: float = 1.0) -> None:
        """Wait until so many of the events have been brought to an end; `sweep` helps, as it does."""
        expected, swept = {event.request_id for event in events}, time.monotonic()

        def is_settled() -> bool:
            nonlocal swept
            if time.monotonic() - swept > self._sweep_seconds:
                run_id = self._insist(self._airflow.trigger, "sweep", patience_seconds=self._sweep_seconds)
                self._airflow.wait_for_run("sweep", str(run_id), SETTLE_SECONDS)
                swept = time.monotonic()
            return len(expected & self.ended()) >= share * len(expected)

        wait_until(is_settled, SETTLE_SECONDS, lambda: f"not ended: {sorted(expected - self.ended())[:10]}")

    def ended(self) -> set[str]:
        """Return the requests that a run has claimed and brought to an end."""
        with open_ledger() as session:
            return set(
                session.scalars(
                    select(Request.id).where(Request.claimed_by.is_not(None), Request.closed_at.is_not(None))
                )
            )

    def runs_that_trained(self) -> Counter[str]:
        """Return, by request, how many runs began to train for it."""
        keys = {(run["dag_id"], run["dag_run_id"]): run["partition_key"] for run in self._airflow.runs()}
        trained: Counter[str] = Counter()
        for task in self._airflow.task_instances():
            if task["task_id"] == "train" and task["state"] in {"success", "failed"}:
                run = (task["dag_id"], task["dag_run_id"])
                trained[keys[run] or f"{run[0].removesuffix('__train')}.hand.{run[1]}"] += 1
        return trained


def _free_port() -> int:
    import socket

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port
