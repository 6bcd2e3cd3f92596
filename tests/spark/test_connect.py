"""On Spark Connect, as under `make up`: the client of another process, whose calls refuse what Spark itself takes."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from include.demo.airflow_api import wait_until
from include.process import die_with_parent
from include.settings import ROOT

DAY = "2020-01-01"
CLEAN = f"""
from include.cleaning import job
from include.config import load_pipeline
from include.ingestion.delivery import land
pipeline = load_pipeline("rides")
print(job.clean(pipeline, land(pipeline, ["{DAY}"], "run", {{}}, {{}}), "run"))
"""


@pytest.fixture(scope="module")
def spark_remote(free_ports: Callable[[int], list[int]], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a Spark Connect server of this module's own."""
    (port,), folder = free_ports(1), tmp_path_factory.mktemp("spark")
    command = [
        str(Path(sys.executable).parent / "spark-submit"),
        *("--class", "org.apache.spark.sql.connect.service.SparkConnectServer", "--master", "local[1]"),
        *("--conf", "spark.driver.host=127.0.0.1", "--conf", "spark.driver.bindAddress=127.0.0.1"),
        *("--conf", "spark.connect.grpc.binding.address=127.0.0.1"),
        *("--conf", f"spark.connect.grpc.binding.port={port}", "--conf", "spark.ui.enabled=false", "spark-internal"),
    ]
    environment = {**os.environ, "SPARK_LOCAL_IP": "127.0.0.1", "PYSPARK_PYTHON": sys.executable}
    environment.pop("SPARK_REMOTE", None)
    with (folder / "log").open("w") as log:
        server = subprocess.Popen(
            command,
            env=environment,
            cwd=folder,
            stdout=log,
            stderr=log,
            preexec_fn=die_with_parent,  # noqa: PLW1509
        )
    try:
        says = folder / "log"
        wait_until(lambda: "Spark Connect server started" in says.read_text(), 120, says.read_text)
        yield f"sc://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait()


@pytest.fixture
def with_label_in_events(settings, rides_yaml):
    content = yaml.safe_load(rides_yaml)
    del content["source"]["labels"], content["cleaning"]["labels"]
    content["cleaning"]["columns"]["late"] = "boolean"
    (settings.pipelines / "rides.yaml").write_text(yaml.safe_dump(content))
    (settings.data / "e").mkdir(parents=True)
    (settings.data / "e" / f"{DAY}.csv").write_text(f"ride_id,day,distance,carrier,late\nr1,{DAY},2.5,AA,true\n")


def run(spark_remote: str, *arguments: str) -> str:
    environment = {**os.environ, "SPARK_REMOTE": spark_remote, "PYTHONPATH": f"{ROOT}:{ROOT / 'plugins'}"}
    done = subprocess.run(
        [sys.executable, *arguments], env=environment, check=False, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "No Spark Connect server answers" not in done.stderr
    return done.stdout


@pytest.mark.usefixtures("with_label_in_events")
def test_events_that_hold_their_label_are_checked_and_cleaned(spark_remote, settings):
    assert "✘" not in run(spark_remote, "-m", "include.cli", "validate", "rides")

    staged = Path(run(spark_remote, "-c", CLEAN).strip().splitlines()[-1])

    assert staged.is_relative_to(settings.data)
