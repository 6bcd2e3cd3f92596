"""A running installation: trainings asked for by every door, and a person who answers faster than Airflow can wait."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SERVICES = ("AIRFLOW", "ENDPOINT", "MLFLOW", "SPARK")
STORY = """
import json, sys, tempfile
from pathlib import Path

import redis

from include.demo.airflow_api import Airflow, wait_until
from include.ledger import Request, open_ledger
from soak.events import QUEUE, Trial, installation, plan, try_out

ASKING = "people: {review: [message], timeout_hours: 1}"
ANSWERS = {"yes": "Train", "no": "Do not train"}


def read(request_id):
    with open_ledger() as session:
        return session.get(Request, request_id)


def ask(airflow, port):
    asked = {}
    for name, option in ANSWERS.items():
        message = {"pipeline": "asking", "reason": f"say {name}", "id": name}
        redis.Redis(port=port).xadd(QUEUE, {"body": json.dumps(message)})
        wait_until(airflow.questions, 120, lambda: "nobody is asked")
        [asked[name]] = airflow.questions()
        airflow.answer(asked[name], option, f"I said {name}")  # at once: the race
        request_id = f"asking.message.{name}"
        wait_until(lambda: read(request_id).closed_at, 240, lambda: f"{request_id}: {airflow.task_instances()}")
    said = {name: read(f"asking.message.{name}") for name in ANSWERS}
    found = {name: {**each.detail["review"], "note_of_request": each.note} for name, each in said.items()}
    tasks = [task for task in airflow.task_instances() if task["dag_id"] == "asking__train"]
    trained = [task for task in tasks if task["task_id"] == "train" and task["state"] == "failed"]
    return {"found": found, "asked": asked, "trained": len(trained), "left": airflow.questions()}


with tempfile.TemporaryDirectory() as folder, installation(Path(folder), {"asking": ASKING}) as (stack, port):
    airflow = Airflow(stack.urls["airflow"], stack.password)
    airflow.wait_for_dags({"asking__train"})
    events = try_out(Trial(stack, port, sweep_seconds=20), plan(12, seed=3), waves=1)
    Path(sys.argv[1]).write_text(json.dumps({"events": events, "people": ask(airflow, port)}))
"""


@pytest.fixture(scope="module")
def told(tmp_path_factory, free_ports, redis_connection):
    """What the story has written down, which has an installation of its own; skipped where there is no Redis."""
    file = tmp_path_factory.mktemp("doors") / "found.json"
    ports = {
        f"EVERGREEN_{name}_PORT": str(port) for name, port in zip(SERVICES, free_ports(len(SERVICES)), strict=True)
    }
    # The other tests' Airflow (tests/conftest.py) is not this one's.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")} | ports
    done = subprocess.run(
        [sys.executable, "-c", STORY, str(file)],
        cwd=ROOT,
        env=environment | {"PYTHONPATH": f"{ROOT}:{ROOT / 'plugins'}"},
        capture_output=True,
        text=True,
        check=False,
        timeout=1200,
    )
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-5000:]
    return json.loads(file.read_text())


@pytest.fixture(scope="module")
def answered(told):
    return told["people"]


def test_no_event_is_lost_and_none_is_trained_for_twice(told):
    found = told["events"]

    assert found["injected"] == 12
    assert set(found["by_door"]) == {"queue", "rest", "lost"}
    assert sum(found["killed"].values()) == 1
    assert found["findings"] == {"lost": [], "doubled": [], "unasked": []}


def test_a_person_is_asked_with_the_reason_and_what_it_costs(answered):
    question = answered["asked"]["yes"]

    assert question["subject"] == "Train a new model of asking?"
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
