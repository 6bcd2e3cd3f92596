"""This file measures what Airflow's DAG processor pays for twenty pipelines."""

import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from include.settings import ROOT

CODE = f"""
import time
import airflow.sdk
from airflow.dag_processing.dagbag import DagBag
started = time.perf_counter()
bag = DagBag(dag_folder={str(ROOT / "dags")!r})
print("SECONDS", time.perf_counter() - started, len(bag.dags))
"""


def measure() -> dict[str, Any]:
    """Return the median seconds of five fresh processes that parse 20 pipelines (121 DAGs)."""
    text = (ROOT / "config" / "pipelines" / "flight_delays.yaml").read_text()
    seconds, dags = [], 0
    with tempfile.TemporaryDirectory() as folder:
        pipelines = Path(folder) / "pipelines"
        pipelines.mkdir()
        for number in range(20):
            (pipelines / f"pipeline_{number}.yaml").write_text(text)
        environment = os.environ | {
            "PYTHONPATH": f"{ROOT}:{ROOT / 'plugins'}",
            "AIRFLOW_HOME": folder,
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "EVERGREEN_PIPELINES": str(pipelines),
        }
        for _ in range(5):
            done = subprocess.run(
                [sys.executable, "-c", CODE], env=environment, capture_output=True, text=True, check=True
            )
            _, spent, count = next(line for line in done.stdout.splitlines() if line.startswith("SECONDS")).split()
            seconds.append(float(spent))
            dags = int(count)
    return {"pipelines": 20, "dags": dags, "seconds": round(statistics.median(seconds), 2)}
