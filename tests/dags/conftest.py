"""An Airflow of its own for the DAG tests: an empty home and database, set before airflow is imported."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
HOME = Path(tempfile.mkdtemp(prefix="evergreen-dags-"))

os.environ.update(
    AIRFLOW_HOME=str(HOME),
    AIRFLOW__CORE__DAGS_FOLDER=str(ROOT / "dags"),
    AIRFLOW__CORE__PLUGINS_FOLDER=str(ROOT / "plugins"),
    AIRFLOW__CORE__LOAD_EXAMPLES="False",
    AIRFLOW__CORE__UNIT_TEST_MODE="True",
    AIRFLOW__DATABASE__SQL_ALCHEMY_CONN=f"sqlite:///{HOME / 'airflow.db'}",
)
sys.path[:0] = [str(ROOT), str(ROOT / "plugins")]


@pytest.fixture(scope="session")
def dagbag():
    from airflow.dag_processing.dagbag import DagBag

    return DagBag(dag_folder=str(ROOT / "dags"))


@pytest.fixture(scope="session")
def airflow_database():
    from airflow.utils.db import initdb

    initdb()


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
