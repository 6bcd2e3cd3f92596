"""A running installation: trainings asked for by every door, and a person who answers faster than Airflow can wait."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SERVICES = ("AIRFLOW", "ENDPOINT", "MLFLOW", "SPARK")
EVENTS = """
import json, sys
from pathlib import Path
from soak import events

events.WAVES = 2
Path(sys.argv[1]).write_text(json.dumps(events.measure(16, seed=3)))
"""
PEOPLE = """
import json, sys, tempfile
from pathlib import Path

import redis

from include.demo.airflow_api import Airflow, wait_until
from include.ledger import Request, open_ledger
from soak.events import QUEUE, installation

ASKING = "people: {review: [message], timeout_hours: 1}"
ANSWERS = {"yes": "Train", "no": "Do not train"}


def read(request_id):
    with open_ledger() as session:
        return session.get(Request, request_id)


with tempfile.TemporaryDirectory() as folder, installation(Path(folder), ASKING) as (stack, port):
    airflow = Airflow(stack.urls["airflow"], stack.password)
    airflow.wait_for_dags({"north__train"})
    asked = {}
    for name, option in ANSWERS.items():
        message = {"pipeline": "north", "reason": f"say {name}", "id": name}
        redis.Redis(port=port).xadd(QUEUE, {"body": json.dumps(message)})
        wait_until(airflow.questions, 120, lambda: "nobody is asked")
        [asked[name]] = airflow.questions()
        airflow.answer(asked[name], option, f"I said {name}")  # at once: the race
        request_id = f"north.message.{name}"
        wait_until(lambda: read(request_id).closed_at, 240, lambda: f"{request_id}: {airflow.task_instances()}")
    found = {
        name: {**read(f"north.message.{name}").detail["review"], "note_of_request": read(f"north.message.{name}").note}
        for name in ANSWERS
    }
    trained = [task for task in airflow.task_instances() if task["task_id"] == "train" and task["state"] == "failed"]
    Path(sys.argv[1]).write_text(
        json.dumps({"found": found, "asked": asked, "trained": len(trained), "left": airflow.questions()})
    )
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory, free_ports):
    """Run code beside a running installation, and return what it has written."""

    def run(code: str) -> dict:
        file = tmp_path_factory.mktemp("doors") / "found.json"
        ports = {
            f"EVERGREEN_{name}_PORT": str(port) for name, port in zip(SERVICES, free_ports(len(SERVICES)), strict=True)
        }
        # The other tests' Airflow (tests/conftest.py) is not this one's.
        environment = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")} | ports
        done = subprocess.run(
            [sys.executable, "-c", code, str(file)],
            cwd=ROOT,
            env=environment | {"PYTHONPATH": f"{ROOT}:{ROOT / 'plugins'}"},
            capture_output=True,
            text=True,
            check=False,
            timeout=1200,
        )
        assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-5000:]
        return json.loads(file.read_text())

    return run


@pytest.fixture(scope="module", autouse=True)
def _redis(redis_connection):
    """Skip where there is no Redis."""


def test_no_event_is_lost_and_none_is_trained_for_twice(run):
    found = run(EVENTS)

    assert found["injected"] == 16
    assert set(found["by_door"]) == {"queue", "rest", "lost"}
    assert found["findings"] == {"lost": [], "doubled": [], "unasked": []}


@pytest.fixture(scope="module")
def answered(run):
    return run(PEOPLE)


def test_a_person_is_asked_with_the_reason_and_what_it_costs(answered):
    question = answered["asked"]["yes"]

    assert question["subject"] == "Train a new model of north?"
    assert "say yes" in question["body"]
    assert "What it costs" in question["body"]


def test_who_answered_is_kept_although_the_answer_came_at_once(answered):
    said = answered["found"]["yes"]

    assert (said["answer"], said["by"], said["note"]) == ("Train", "admin", "I said yes")


def test_a_no_closes_the_request_and_trains_nothing(answered):
    said = answered["found"]["no"]

    assert said["answer"] == "Do not train"
    assert "admin said 'Do not train'" in said["note_of_request"]
    assert "I said no" in said["note_of_request"]
    assert answered["trained"] == 1
    assert answered["left"] == []
