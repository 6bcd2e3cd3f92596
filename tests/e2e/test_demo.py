"""The end-to-end test is the demo itself: the command a newcomer runs, on ports and in a folder of its own."""

import json
import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.timeout(1600)

SERVICES = ("AIRFLOW", "ENDPOINT", "MLFLOW", "SPARK")


@pytest.fixture(scope="module")
def told(tmp_path_factory, free_ports):
    """Run the demo once and return (exit code, its output, its summary, the data folder)."""
    data = tmp_path_factory.mktemp("demo")
    ports = {
        f"EVERGREEN_{name}_PORT": str(port) for name, port in zip(SERVICES, free_ports(len(SERVICES)), strict=True)
    }
    done = subprocess.run(
        [sys.executable, "-m", "include.cli", "demo"],
        cwd=ROOT,
        # The other tests' Airflow (tests/conftest.py) is not the demo's.
        env={name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}
        | ports
        | {"EVERGREEN_DATA": str(data)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=1500,
    )
    print(done.stdout)  # noqa: T201 - what the demo said is what one wants to read when it fails
    file = data / "demo" / "summary.json"
    return done.returncode, done.stdout, json.loads(file.read_text()) if file.exists() else {}, data


def test_the_loop_closes(told):
    code, output, summary, _ = told

    assert code == 0, output
    assert summary["loop_closed"]
    assert summary["first_model"]["version"] == 1
    assert summary["second_model"]["version"] == 2


def test_history_did_not_ask_for_a_retraining_but_falling_quality_did(told):
    summary = told[2]

    assert summary["retrain"]["triggered_by"] == "quality"
    assert summary["retrain"]["request_id"] == f"flight_delays.quality.{summary['drift']['partition']}"
    assert summary["drift"]["partition"] >= "2013-07-08"


def test_the_new_model_is_better_on_the_days_that_followed(told):
    second = told[2]["second_model"]

    assert second["days"] >= 7
    assert second["auc_new_on_following_days"] > second["auc_old_on_same_days"]
    assert second["gain_interval"][0] > 0


def test_no_request_failed_while_versions_were_swapped(told):
    traffic = told[2]["traffic"]

    assert traffic["failed"] == 0
    assert traffic["sent"] > 1000


def test_bad_deliveries_were_quarantined_or_refused_and_nothing_else_failed(told):
    summary = told[2]

    assert summary["partitions"] == {"published": 199, "refused": 1, "redelivered": 1}
    assert summary["rows_quarantined"] == 15
    assert summary["airflow"]["unexpected"] == []
    assert summary["airflow"]["failed"] == 1


def test_every_published_day_has_a_validation_report_and_every_served_day_a_drift_report(told):
    lake = told[3] / "lake" / "flight_delays" / "reports"

    assert len(list((lake / "validation").glob("*/*.html.gz"))) >= 199
    assert len(list((lake / "drift").glob("2013-07-*.html.gz"))) >= 11


def test_nothing_is_left_running(told):
    left = [
        " ".join(process.cmdline()[:4])
        for process in psutil.process_iter()
        if str(told[3]) in " ".join([*_environment(process), *_command(process)])
    ]

    assert left == []


def _environment(process: psutil.Process) -> list[str]:
    try:
        return [process.environ().get("EVERGREEN_DATA", "")]
    except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
        return []


def _command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
        return []
