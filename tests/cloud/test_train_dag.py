"""The DAG `train` as Airflow runs it, on one platform after another by a word in the YAML; and no secret goes astray.

Pipeline, rows and ledger are the same for all of them; the ledger is PostgreSQL's, whose URL has a password.
"""

import gzip
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest
from sqlalchemy import text

from include import accelerators, artefact
from include.ledger import Release, jobs, open_ledger, releases, requests
from include.settings import ROOT, load_settings
from tests.cloud.conftest import BUCKET, POD_SECRET, SECRET
from tests.cloud.kubernetes_api import KubernetesApi
from tests.cloud.lake import publish_rides
from tests.cloud.sagemaker import SageMaker
from tests.conftest import HOME

PROFILES = """
cpu:
  machines: &prices
    aws: {name: ml.m5.large, price_per_hour: 0.138, priced_on: 2026-11-26}
    kubernetes: {name: m5.large, price_per_hour: 0.115, priced_on: 2026-11-26}
cpu_two_nodes: {nodes: 2, machines: *prices}
"""


@dataclass(frozen=True)
class Case:
    """One run of the DAG."""

    platform: str
    accelerator: str = "cpu"
    framework: str = "torch"


ALONE = [Case("local"), Case("aws"), Case("kubernetes")]
TOGETHER = [
    Case("aws", "cpu_two_nodes"),
    Case("kubernetes", "cpu_two_nodes"),
    Case("kubernetes", "cpu_two_nodes", "keras"),
]

LEDGER_SECRET, TRACKING_SECRET, ENDPOINT_SECRET = "sesame-of-the-ledger", "sesame-of-mlflow", "sesame-of-the-endpoint"
SECRETS = {
    "AWS' key": SECRET,
    "a Secret of the cluster": POD_SECRET,
    "the ledger's password": LEDGER_SECRET,
    "MLflow's password": TRACKING_SECRET,
    "the endpoint's key": ENDPOINT_SECRET,
}


@pytest.fixture(scope="module")
def airflow(
    installation: Path,
    sagemaker: SageMaker,
    cluster: KubernetesApi,
    bucket: Any,
    postgres_folder: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Callable[[Case], tuple[str, dict[str, str]]]]:
    """Return a function that runs `train` and gives (the run's state, each task's)."""
    from airflow.dag_processing.dagbag import DagBag
    from airflow.utils.db import initdb

    initdb()
    bucket.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})  # nothing is forgotten
    profiles = tmp_path_factory.mktemp("profiles") / "accelerators.yaml"
    profiles.write_text(PROFILES)
    kubernetes = installation / "platforms" / "kubernetes.yaml"
    kubernetes.write_text(kubernetes.read_text().replace("{cpu: {}}", "{cpu: {}, cpu_two_nodes: {}}"))
    yaml = installation / "pipelines" / "rides.yaml"
    plain = yaml.read_text()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(accelerators, "PROFILES", profiles)
        patch.setattr("evergreen.operators.train.POKE_SECONDS", 0.2)
        patch.delenv("MLFLOW_TRACKING_URI")
        patch.setenv("EVERGREEN_LEDGER_URL", _ledger(postgres_folder))
        patch.setenv("MLFLOW_TRACKING_PASSWORD", TRACKING_SECRET)
        patch.setenv("EVERGREEN_ENDPOINT_KEY", ENDPOINT_SECRET)
        publish_rides(10, 100)

        def run(case: Case) -> tuple[str, dict[str, str]]:
            yaml.write_text(_with(plain, case))
            bag = DagBag(dag_folder=str(ROOT / "dags" / "train.py"))
            assert not bag.import_errors
            dag_run = bag.dags["rides__train"].test(run_conf={"reason": "a test"}, logical_date=None)
            return str(dag_run.state), {task.task_id: str(task.state) for task in dag_run.get_task_instances()}

        yield run
    _forget(bucket)


def _forget(s3: Any) -> None:
    """Remove all versions of all objects: else the bucket could not be removed."""
    for page in s3.get_paginator("list_object_versions").paginate(Bucket=BUCKET):
        for each in page.get("Versions", []) + page.get("DeleteMarkers", []):
            s3.delete_object(Bucket=BUCKET, Key=each["Key"], VersionId=each["VersionId"])


def _ledger(folder: Path) -> str:
    import psycopg

    with psycopg.connect(host=str(folder), user="evergreen", dbname="postgres", autocommit=True) as server:
        server.execute("CREATE DATABASE secrets")
    return f"postgresql+psycopg://evergreen:{LEDGER_SECRET}@/secrets?host={folder}"


def _with(plain: str, case: Case) -> str:
    small = "epochs: 4, batch_size: 64, learning_rate: 0.02, hidden: [8], embedding_dim: 2, refit: false"
    training = f"training: {{{small}, framework: {case.framework}, accelerator: {case.accelerator}, "
    return f"platform: {case.platform}\n" + plain.replace("training: {", training).replace(
        "holdout_days: 1", "holdout_days: 3"
    )


@pytest.fixture(scope="module")
def weights() -> dict[str, str]:
    """The sha256 of each platform's graph."""
    return {}


@pytest.mark.parametrize("case", ALONE, ids=lambda case: case.platform)
def test_a_word_in_the_yaml_says_where_the_same_model_is_trained(
    airflow: Callable[[Case], Any], weights: dict[str, str], case: Case
) -> None:
    release = _registered(airflow, case)

    weights[case.platform] = release.sha256
    assert len({*weights.values()}) == 1, weights


@pytest.mark.parametrize("case", TOGETHER, ids=lambda case: f"{case.platform} {case.framework}")
def test_several_machines_train_one_model(airflow: Callable[[Case], Any], case: Case) -> None:
    release = _registered(airflow, case)

    manifest = artefact.read_manifest(release.model_uri)
    assert manifest["metrics"]["auc"] > 0.6
    assert manifest["accelerator"]["nodes"] == 2


def _registered(airflow: Callable[[Case], Any], case: Case) -> Release:
    """Run the DAG, and return the release that came of it, registered and paid for once."""
    import mlflow

    state, tasks = airflow(case)

    assert (state, tasks["train"], tasks["register"]) == ("success", "success", "success"), tasks
    with open_ledger() as session:
        release = releases.releases_of(session, "rides")[0]
        (attempt,) = jobs.attempts_of(session, release.request_id)
    assert (release.status, attempt.platform, attempt.status) == ("approved", case.platform, "succeeded")
    registered = mlflow.MlflowClient(load_settings().tracking_url).search_model_versions("name = 'rides'")
    assert (release.sha256, "approved") in {(each.tags["sha256"], each.tags["status"]) for each in registered}
    assert artefact.read_manifest(release.model_uri)["sha256"] == release.sha256
    return release


@pytest.fixture(scope="module")
def held(airflow: Any, sagemaker: SageMaker, cluster: KubernetesApi, bucket: Any) -> dict[str, Callable[[], str]]:
    """Return what gives all that was sent, kept or shown somewhere, as text."""
    return {
        "requests": lambda: "\n".join([*sagemaker.sent, *cluster.sent]),
        "objects": lambda: "\n".join(_objects_ever(bucket)),
        "ledger": _rows_of_ledger,
        "airflow": lambda: _rows_of(HOME / "airflow.db"),  # XComs, rendered templates, runs' settings, its own log
        "mlflow": lambda: _rows_of(load_settings().data / "mlflow.db"),
        "output": lambda: "\n".join(OUTPUT),
    }


OUTPUT: list[str] = []  # of all runs; task logs are it, line by line


@pytest.fixture(autouse=True)
def _output(capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    yield
    OUTPUT.extend([*capfd.readouterr(), *(record.getMessage() for record in caplog.get_records("call"))])


def _rows_of(database: Path) -> str:
    with sqlite3.connect(database) as connection:
        return "\n".join(connection.iterdump())


def _rows_of_ledger() -> str:
    with open_ledger() as session:
        names = session.scalars(text("SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'"))
        return "\n".join(str(session.execute(text(f"SELECT * FROM {name}")).all()) for name in names.all())  # noqa: S608


def _objects_ever(s3: Any) -> Iterator[str]:
    """Yield every version of every object, also of those that were removed, unpacked."""
    for page in s3.get_paginator("list_object_versions").paginate(Bucket=BUCKET):
        for each in page.get("Versions", []):
            found = s3.get_object(Bucket=BUCKET, Key=each["Key"], VersionId=each["VersionId"])["Body"].read()
            found = gzip.decompress(found) if found.startswith(b"\x1f\x8b") else found
            yield f"{each['Key']} {found.decode(errors='replace')}"


def leaks(text: str) -> list[str]:
    """Return which secrets a text holds."""
    return [name for name, secret in SECRETS.items() if secret in text]


@pytest.mark.parametrize(
    ("where", "told"),
    [
        ("requests", "TrainingJobName"),
        ("requests", "activeDeadlineSeconds"),
        ("objects", "ride_id"),
        ("ledger", "approved"),
        ("airflow", "rides__train"),
        ("mlflow", "auc"),
        ("output", "Learn from"),
    ],
)
def test_no_secret_was_sent_kept_or_shown_in_the_runs_above(
    held: dict[str, Callable[[], str]], where: str, told: str
) -> None:
    found = held[where]()

    assert told in found, "nothing was looked at"
    assert leaks(found) == []


def _tell_mlflow(secret: str) -> None:
    import mlflow

    mlflow.set_tracking_uri(load_settings().tracking_url)
    with mlflow.start_run():
        mlflow.set_tag("planted", secret)


def _tell_airflow(secret: str) -> None:
    from airflow.models import Log
    from airflow.utils.session import create_session

    with create_session() as session:
        session.add(Log(event=secret))


def _tell_ledger(secret: str) -> None:
    with open_ledger() as session:
        requests.file_request(session, "rides", reason=secret, triggered_by="hand", key="planted", detail={})


PLANTED: dict[str, Callable[[str], object]] = {
    "requests": lambda secret: boto3.client("sagemaker").list_training_jobs(NameContains=secret),
    "objects": lambda secret: boto3.client("s3").put_object(
        Bucket=BUCKET, Key="planted.gz", Body=gzip.compress(secret.encode())
    ),
    "ledger": _tell_ledger,
    "airflow": _tell_airflow,
    "mlflow": _tell_mlflow,
    "output": OUTPUT.append,
}


@pytest.mark.parametrize("where", PLANTED)
def test_a_secret_that_went_astray_would_be_found(held: dict[str, Callable[[], str]], where: str) -> None:
    PLANTED[where](ENDPOINT_SECRET)

    assert leaks(held[where]()) == ["the endpoint's key"]
