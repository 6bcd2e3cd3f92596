"""A few seeded kills in running nights and trainings; `make soak` does a hundred."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SERVICES = ("AIRFLOW", "ENDPOINT", "MLFLOW", "SPARK")


@pytest.fixture(scope="module")
def found(tmp_path_factory, free_ports):
    """What became of three kills."""
    file = tmp_path_factory.mktemp("kills") / "found.json"
    ports = {
        f"EVERGREEN_{name}_PORT": str(port) for name, port in zip(SERVICES, free_ports(len(SERVICES)), strict=True)
    }
    code = f"import json, pathlib, soak.kills as k; pathlib.Path({str(file)!r}).write_text(json.dumps(k.measure(3, 3)))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        # The other tests' Airflow (tests/conftest.py) is not this one's.
        env={name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")} | ports,
        capture_output=True,
        text=True,
        check=False,
        timeout=1200,
    )
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-5000:]
    return json.loads(file.read_text())


def test_something_was_killed(found):
    assert found["n"] >= 3, found["kills"]


def test_nothing_is_lost_doubled_or_left_behind(found):
    assert found["findings"] == {"lost": [], "doubled": [], "disagree": [], "orphans": []}
