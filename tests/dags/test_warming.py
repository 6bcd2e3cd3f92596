"""The plugin in a process that does what Airflow's scheduler does before its first task."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCHEDULER = """
import multiprocessing, sys
from multiprocessing import forkserver

multiprocessing.set_start_method(sys.argv[1])
multiprocessing.set_forkserver_preload(["warm"])
from evergreen.warming import on_starting

on_starting(type(sys.argv[2], (), {})())
print(forkserver._forkserver._forkserver_pid is not None, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def told(tmp_path):
    """Where the module that is to be preloaded says that it was imported."""
    os.mkfifo(told := tmp_path / "told")
    (tmp_path / "warm.py").write_text(f"open({str(told)!r}, 'w').write('imported')\n")
    return told


@pytest.fixture
def start(tmp_path, told):
    """Start a service of Airflow's; it runs until the test is over."""
    services = []

    def run(method, component):
        service = subprocess.Popen(
            [sys.executable, "-c", SCHEDULER, method, component],
            env={"PYTHONPATH": f"{tmp_path}:{ROOT}:{ROOT / 'plugins'}", "AIRFLOW_HOME": str(tmp_path)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        services.append(service)
        return {"True\n": True, "False\n": False}[service.stdout.readline()]

    yield run
    for service in services:
        service.communicate()


def test_the_scheduler_has_the_modules_imported_before_there_is_a_task(start, told):
    assert start("forkserver", "Job")

    assert told.read_text() == "imported"  # which waits for it


@pytest.mark.parametrize(
    ("method", "component"),
    [
        ("spawn", "Job"),  # another service, or another executor
        ("forkserver", "TaskRunnerMarker"),  # a task, in a process that was forked from what has them
    ],
)
def test_nobody_else_has_them_imported(start, method, component):
    assert not start(method, component)
