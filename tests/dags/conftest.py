"""The DAG folder, parsed once here, or in a process that has imported nothing."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def dagbag():
    from airflow.dag_processing.dagbag import DagBag

    return DagBag(dag_folder=str(ROOT / "dags"))


@pytest.fixture
def parse_in_fresh_process(tmp_path):
    """Parse the DAG folder in a process that has imported nothing, and return what a Python expression says there."""

    def parse(expression: str, pipelines: Path | None = None) -> str:
        code = (
            "import sys, time\n"
            "import airflow.sdk\n"
            "from airflow.dag_processing.dagbag import DagBag\n"
            "before = set(sys.modules)\n"
            "started = time.perf_counter()\n"
            f"bag = DagBag(dag_folder={str(ROOT / 'dags')!r})\n"
            "seconds = time.perf_counter() - started\n"
            f"print('ANSWER', {expression})\n"
        )
        environment = os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'plugins'}", "AIRFLOW_HOME": str(tmp_path)}
        if pipelines:
            environment["EVERGREEN_PIPELINES"] = str(pipelines)
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
        )
        return next(line for line in done.stdout.splitlines() if line.startswith("ANSWER"))[7:]

    return parse
