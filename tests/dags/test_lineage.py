"""OpenLineage's own listener, our extractor, a file: what a run of a stage says about snapshots and versions."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# Tasks of the names that end these stages; they write into the ledger what the real ones would.
DAGS = """
from airflow.sdk import dag, task

from include.partition import run_key_of


@dag(dag_id="rides__ingest", schedule=None)
def ingest():
    @task
    def publish(run_id=None):
        from include.ledger import Publication, nights, open_ledger

        days = ["2020-01-01", "2020-01-02"]
        # The id as `include.publication` makes it: of the staged folder, which is new for every attempt.
        found = Publication(
            id=f"rides.{run_key_of(run_id)}-0a1b2c3d", pipeline="rides", days=days, rows=9, snapshot_id="4711"
        )
        with open_ledger() as session:
            nights.announce(session, found)

    publish()


@dag(dag_id="rides__train", schedule=None)
def train():
    @task
    def evaluate():
        return None

    @task
    def register(run_id=None):
        import json
        from include.ledger import open_ledger, releases, requests
        from include.settings import load_settings

        folder = load_settings().models / "rides" / "m"
        folder.mkdir(parents=True)
        (folder / "manifest.json").write_text(json.dumps({"snapshot_id": 4711}))
        with open_ledger() as session:
            found = requests.file_request(session, "rides", reason="r", triggered_by="hand", key="k", detail={})
            requests.claim_request(session, found.id, run_key_of(run_id))
            releases.add_release(
                session, "rides", found.id, model_uri=str(folder), sha256="", tracking_run="", judged_until="",
                quality=0.7, metrics={}, gate={},
            )

    evaluate() >> register()


ingest()
train()
"""
RUN = """
import sys
from airflow.dag_processing.dagbag import DagBag
from airflow.utils.db import initdb

initdb()
bag = DagBag(dag_folder=sys.argv[1])
for dag_id in ("rides__ingest", "rides__train"):
    assert bag.dags[dag_id].test(logical_date=None).state == "success"
"""


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """What OpenLineage was told when tasks of this name had ended: (inputs, outputs) by task, name and version each."""
    folder = tmp_path_factory.mktemp("lineage")
    (folder / "dags").mkdir()
    (folder / "dags" / "stages.py").write_text(DAGS)
    file = folder / "lineage.jsonl"
    environment = os.environ | {
        "AIRFLOW_HOME": str(folder),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{folder / 'airflow.db'}",
        "AIRFLOW__CORE__DAGS_FOLDER": str(folder / "dags"),
        "AIRFLOW__OPENLINEAGE__EXTRACTORS": "evergreen.lineage.StageExtractor",
        "AIRFLOW__OPENLINEAGE__TRANSPORT": json.dumps({"type": "file", "log_file_path": str(file), "append": True}),
        "EVERGREEN_DATA": str(folder / "data"),
        "PYTHONPATH": f"{ROOT}:{ROOT / 'plugins'}",
    }
    done = subprocess.run(
        [sys.executable, "-c", RUN, str(folder / "dags")], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    events = [json.loads(line) for line in file.read_text().splitlines()]
    return {
        event["job"]["name"]: tuple(
            [(each["name"], each["facets"]["version"]["datasetVersion"]) for each in event[end]]
            for end in ("inputs", "outputs")
        )
        for event in events
        if event["eventType"] == "COMPLETE" and "." in event["job"]["name"]
    }


def test_a_publication_is_a_snapshot_made_of_deliveries(told):
    assert told["rides__ingest.publish"] == (
        [("rides.deliveries", "2020-01-01 to 2020-01-02")],
        [("rides.clean", "4711")],
    )


def test_a_model_is_a_version_made_of_a_snapshot(told):
    assert told["rides__train.register"] == ([("rides.clean", "4711")], [("rides.model", "1")])


def test_a_task_in_the_middle_of_a_stage_has_neither(told):
    assert told["rides__train.evaluate"] == ([], [])
