"""The DAGs run, started by hand through their forms: real Spark, PyTorch, MLflow, and a real endpoint beside them."""

import json
import os
import subprocess
import sys
from datetime import date, timedelta
from pathlib import Path

import httpx
import pyarrow.parquet as pq
import pytest

from include import lake
from include.artefact import read_manifest
from include.demo.airflow_api import wait_until
from include.ledger import Request, nights, open_ledger, releases, requests
from include.lineage import Thing, lineage_of
from include.platforms import local
from include.settings import load_settings
from include.training import trial_process
from include.training.spec import work_folder
from tests.warm import Subprocess

ROOT = Path(__file__).resolve().parents[2]
DAYS = [(date(2020, 1, 1) + timedelta(days=number)).isoformat() for number in range(12)]
BAD_DAY = DAYS[-1]
ROWS = 150
SEARCH = "learning_rate: 0.02, tuning: {trials: 3, at_once: 1, search: {learning_rate: {low: 0.015, high: 0.03}}}"


@pytest.fixture(scope="module")
def installation(tmp_path_factory, rides_yaml, deliver_rides, airflow_database):
    """Settings of an installation with one pipeline and twelve delivered days, the last of them unusable."""
    folder = tmp_path_factory.mktemp("rides")
    (folder / "pipelines").mkdir()
    (folder / "pipelines" / "rides.yaml").write_text(
        rides_yaml.replace("holdout_days: 1", f"holdout_days: 3, refit: false, batch_size: 64, {SEARCH}")
        # By the loss, as it is: one epoch over one day orders these rows as well as six over six days.
        .replace("min_rows: 50}", "min_rows: 50, repairs: {recalibrate: null}}")
        + "gate: {metric: log_loss}\n"
    )
    for day in DAYS:
        deliver_rides(folder / "data", day, ROWS, is_bad=day == BAD_DAY)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EVERGREEN_DATA", str(folder / "data"))
        patch.setenv("EVERGREEN_PIPELINES", str(folder / "pipelines"))
        patch.delenv("EVERGREEN_LEDGER_URL", raising=False)
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        patch.delenv("SPARK_REMOTE", raising=False)
        for module in (local, trial_process):
            patch.setattr(module, "subprocess", Subprocess)
        yield patch


@pytest.fixture(scope="module")
def endpoint(installation, free_ports):
    """The URL of a real endpoint that follows this installation's declared states."""
    (port,) = free_ports(1)
    url = f"http://127.0.0.1:{port}"
    installation.setenv("EVERGREEN_ENDPOINT_URL", url)
    app = ["uvicorn", "--factory", "include.serving.app:create_app", "--port", str(port), "--log-level", "warning"]
    server = subprocess.Popen([sys.executable, "-m", *app], cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)})
    wait_until(lambda: _answers(url), 60, lambda: f"no endpoint at {url}")
    yield url
    server.terminate()
    server.wait()


def _answers(url):
    try:
        return httpx.get(f"{url}/ping").status_code == 200
    except httpx.TransportError:
        return False


@pytest.fixture(scope="module")
def run(endpoint):
    """Run a stage as its form starts it, and return (the run's state, each task's state)."""
    from airflow.dag_processing.dagbag import DagBag

    bag = DagBag(dag_folder=str(ROOT / "dags"))
    assert not bag.import_errors

    def start(stage, **form):
        dag_run = bag.dags[f"rides__{stage}"].test(run_conf=form, logical_date=None)
        return str(dag_run.state), {task.task_id: str(task.state) for task in dag_run.get_task_instances()}

    return start


@pytest.fixture(scope="module")
def ingested(run):
    return run("ingest", first=DAYS[0], last=BAD_DAY)


@pytest.fixture(scope="module")
def trained(run, ingested):
    return run("train", reason="a first look", window_days=1, epochs=1)


@pytest.fixture(scope="module")
def deployed(run, trained):
    return run("deploy")


@pytest.fixture(scope="module")
def succeeded(run, deployed):
    """A second model, from more data, trained and deployed by hand."""
    return run("train", reason="more days, more epochs", window_days=6, epochs=6, tune=True), run("deploy")


def test_ingest_publishes_the_good_days_and_fails_for_the_refused_one(ingested):
    state, tasks = ingested

    assert (state, tasks["publish"], tasks["refuse"]) == ("failed", "success", "failed")
    with open_ledger() as session:
        assert nights.published_days(session, "rides") == DAYS[:-1]
        refused = nights.partitions_of(session, "rides", newest=1)[0]
    assert (refused.day, refused.status, refused.quarantined) == (BAD_DAY, "refused", ROWS)
    assert "no clean rows at all" in refused.note


def test_lineage_knows_the_snapshot_that_an_ingest_has_published(ingested):
    with open_ledger() as session:
        run_key = nights.partitions_of(session, "rides")[-1].run_key
        (publication,) = nights.waiting_publications(session, "rides", older_than_seconds=0)

    found = lineage_of("rides__ingest", "publish", run_key, None)

    assert found.inputs == (Thing("rides.deliveries", f"{DAYS[0]} to {DAYS[-2]}"),)
    assert found.outputs == (Thing("rides.clean", publication.snapshot_id),)


def test_train_by_hand_files_a_request_of_its_own_and_leads_to_an_approved_release(trained):
    state, tasks = trained

    assert state == "success", tasks
    assert tasks["give_up"] == "skipped"
    with open_ledger() as session:
        release = releases.releases_of(session, "rides")[-1]
        request = session.get_one(Request, release.request_id)
    assert (release.version, release.compared_with) == (1, None)
    assert (request.triggered_by, request.reason, request.status) == ("hand", "a first look", "done")
    assert request.detail["epochs"] == 1


def test_deploy_by_hand_makes_the_newest_approved_release_the_champion(deployed, endpoint):
    state, tasks = deployed

    assert state == "success", tasks
    with open_ledger() as session:
        assert releases.champion_of(session, "rides").version == 1
    answer = httpx.post(
        f"{endpoint}/invocations/rides",
        json={"instances": [{"ride_id": "x", "day": DAYS[3], "distance": 1.5, "carrier": "AA"}]},
    )
    assert answer.json()["version"] == 1


def test_score_by_hand_leaves_the_answers_that_the_endpoint_gives(run, deployed, endpoint):
    state, tasks = run("score", first=DAYS[1], last=DAYS[2], version=1)

    assert state == "success", tasks
    (path,) = load_settings().lake.glob(f"rides/scores/version=1/day={DAYS[2]}/*")
    rows = pq.ParquetFile(path).read().to_pylist()
    asked = lake.read_clean("rides", DAYS[2], DAYS[2], ["ride_id", "distance", "carrier"]).to_pylist()
    said = httpx.post(f"{endpoint}/invocations/rides", json={"instances": asked}).json()["predictions"]
    assert {row["ride_id"]: row["prediction"] for row in rows} == pytest.approx(
        {row["ride_id"]: row["prediction"] for row in said}, abs=1e-6, rel=0
    )


def test_monitor_by_hand_looks_again_and_asks_for_nothing_where_nobody_was_served(run, deployed):
    state, tasks = run("monitor", first=DAYS[0], last=DAYS[2])

    assert (state, tasks["measure"], tasks["decide"]) == ("success", "success", "skipped")
    with open_ledger() as session:
        decision = nights.last_decision(session, "rides")
    assert decision.action == "nothing"
    assert "history" in decision.reason


def test_a_better_challenger_takes_over(succeeded, endpoint):
    (state, tasks), deploy = succeeded

    assert (state, tasks["register"], deploy[0]) == ("success", "success", "success")
    with open_ledger() as session:
        champion, before = releases.releases_of(session, "rides")
    assert (champion.version, champion.status, champion.compared_with) == (2, "champion", 1)
    assert before.status == "retired"
    assert httpx.get(f"{endpoint}/ping").json()["pipelines"]["rides"]["version"] == 2


def test_a_search_is_made_where_the_form_asks_for_it_and_its_best_is_trained_with(trained, succeeded):
    (_, usual), ((_, searched), _) = trained, succeeded

    assert (usual["run_trial"], usual["choose_settings"], usual["train"]) == ("skipped", "success", "success")
    assert (searched["run_trial"], searched["choose_settings"]) == ("success", "success")
    with open_ledger() as session:
        first, second = (releases.get_release(session, f"rides.v{version}") for version in (1, 2))
    rates = [read_manifest(each.model_uri)["parameters"]["learning_rate"] for each in (first, second)]
    assert rates[0] == 0.02
    assert 0.015 <= rates[1] <= 0.03
    assert rates[1] != 0.02
    tuned = json.loads((work_folder(Path(second.model_uri)) / "tuned.json").read_text())
    assert tuned == {"learning_rate": rates[1]}


def test_a_challenger_that_is_no_better_is_a_result_and_not_a_failure(run, succeeded):
    state, tasks = run("train", reason="the same again", window_days=6, epochs=6)

    assert (state, tasks["register"], tasks["give_up"]) == ("success", "skipped", "skipped")
    with open_ledger() as session:
        newest = releases.releases_of(session, "rides")[0]
    assert (newest.version, newest.status, newest.compared_with) == (3, "rejected", 2)


def test_a_training_that_fails_makes_a_failed_run_and_closes_its_request(run, deployed, installation):
    yaml = Path(os.environ["EVERGREEN_PIPELINES"]) / "rides.yaml"
    before = yaml.read_text()
    yaml.write_text(before.replace("min_rows: 100", "min_rows: 10000"))
    state, tasks = run("train", reason="too little data", window_days=8, epochs=1)
    yaml.write_text(before)

    assert (state, tasks["train"], tasks["evaluate"], tasks["give_up"]) == (
        "failed",
        "failed",
        "upstream_failed",
        "failed",
    )
    with open_ledger() as session:
        assert not requests.unfinished_requests(session, "rides")


def test_rollback_puts_the_champion_before_back_and_cannot_go_further(run, succeeded, endpoint):
    state, tasks = run("rollback", reason="it felt wrong")

    assert state == "success", tasks
    with open_ledger() as session:
        known = {release.version: release for release in releases.releases_of(session, "rides")}
    assert (known[1].status, known[2].status, known[2].note) == ("champion", "rolled_back", "it felt wrong")
    assert httpx.get(f"{endpoint}/ping").json()["pipelines"]["rides"]["version"] == 1

    state, tasks = run("rollback", reason="further back")

    assert (state, tasks["choose_version"]) == ("failed", "failed")

    state, tasks = run("deploy", version=2)

    assert (state, tasks["verify"], tasks["try_out"]) == ("failed", "failed", "upstream_failed"), "refused at once"
