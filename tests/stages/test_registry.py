import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from include import artefact, registry
from include.ledger import Release, open_ledger, releases
from include.settings import Settings

MANIFEST = {
    "pipeline": "rides",
    "request_id": "rides.hand.one",
    "reason": "a test",
    "snapshot_id": "77",
    "train_days": ["2020-01-01", "2020-01-20"],
    "holdout_days": ["2020-01-21", "2020-01-30"],
    "train_rows": 900,
    "holdout_rows": 1000,
    "losses": [0.6, 0.5],
    "curves": {"loss": [0.6, 0.5], "holdout_auc": [0.6, 0.7]},
    "metrics": {"auc": 0.7, "log_loss": 0.6},
    "parameters": {"epochs": 2, "hidden": [64, 64]},
}


@pytest.fixture
def client(settings: Settings, fresh_mlflow: Path, monkeypatch: pytest.MonkeyPatch) -> MlflowClient:
    settings.data.mkdir(exist_ok=True)
    shutil.copy(fresh_mlflow, settings.data / "mlflow.db")
    url = f"sqlite:///{settings.data / 'mlflow.db'}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", url)
    return MlflowClient(tracking_uri=url)


@pytest.fixture
def away(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tracking server that nobody runs."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")


@pytest.fixture
def model(make_model: Callable[..., tuple[str, str]]) -> tuple[Path, dict[str, Any]]:
    folder, _ = make_model("rides.hand.one", **MANIFEST)
    return Path(folder), artefact.read_manifest(folder)


def enter(
    model: tuple[Path, dict[str, Any]], tracking_run: str, request_id: str = "rides.hand.one", **metrics: float
) -> Release:
    with open_ledger() as session:
        release = releases.add_release(
            session,
            "rides",
            request_id,
            model_uri=str(model[0]),
            sha256=model[1]["sha256"],
            tracking_run=tracking_run,
            judged_until="2020-01-20",
            quality=0.7,
            metrics=metrics,
            gate={},
            compared_with=None,
        )
        return releases.judge(session, release.id, approved=True, note="Passed: by far.")


def test_a_training_is_logged_with_its_curves_parameters_snapshot_and_files(
    client: MlflowClient, model: tuple[Path, dict[str, Any]], settings: Settings
) -> None:
    run = client.get_run(registry.log_training(*model))

    assert client.get_experiment(run.info.experiment_id).name == "rides"
    assert run.info.status == "FINISHED"
    assert run.data.params["epochs"] == "2"
    assert run.data.params["train_days"] == "2020-01-01 to 2020-01-20"
    assert (run.data.tags["snapshot_id"], run.data.tags["request_id"]) == ("77", "rides.hand.one")
    assert run.data.metrics["final_auc"] == 0.7
    assert [point.value for point in client.get_metric_history(run.info.run_id, "loss")] == [0.6, 0.5]
    assert "model/model.onnx" in [file.path for file in client.list_artifacts(run.info.run_id, "model")]
    assert run.info.artifact_uri.startswith((settings.data / "mlartifacts").as_uri())


def test_a_training_is_logged_once(client: MlflowClient, model: tuple[Path, dict[str, Any]]) -> None:
    first = registry.log_training(*model)

    assert registry.log_training(*model) == first
    assert registry.log_training(model[0], {**model[1], "sha256": "another"}) != first


def test_a_release_becomes_a_version_of_the_same_number_once(
    client: MlflowClient, model: tuple[Path, dict[str, Any]]
) -> None:
    release = enter(model, registry.log_training(*model))

    assert registry.register(release.id).status == "approved"
    registry.register(release.id)

    (version,) = client.search_model_versions("name = 'rides'")
    assert int(version.version) == release.version == 1
    assert version.run_id == release.tracking_run
    assert version.description == "Passed: by far."
    assert version.tags["evergreen_version"] == "1"
    assert version.tags["status"] == "approved"
    assert (version.tags["snapshot_id"], version.tags["sha256"]) == ("77", release.sha256)


def test_what_all_attempts_have_cost_stands_at_the_run_and_at_the_version_once(
    client: MlflowClient, model: tuple[Path, dict[str, Any]]
) -> None:
    release = enter(model, registry.log_training(*model), training_cost=1.5)

    registry.register(release.id)
    registry.register(release.id)

    (version,) = client.search_model_versions("name = 'rides'")
    assert version.tags["training_cost"] == "1.5"
    assert [point.value for point in client.get_metric_history(release.tracking_run, "training_cost")] == [1.5]


def test_the_alias_follows_the_ledgers_number_where_mlflow_counts_otherwise(
    client: MlflowClient, model: tuple[Path, dict[str, Any]]
) -> None:
    run = registry.log_training(*model)
    enter(model, run)
    second = enter(model, run, request_id="rides.hand.two")
    registry.register(second.id)

    registry.point_alias("rides", 2)
    assert client.get_model_version_by_alias("rides", "champion").tags["evergreen_version"] == "2"

    registry.point_alias("rides", 1)
    registry.point_alias("rides", 1)
    assert client.get_model_version_by_alias("rides", "champion").tags["evergreen_version"] == "1"


def test_a_training_that_could_not_be_logged_is_logged_when_its_release_is_registered(
    client: MlflowClient, model: tuple[Path, dict[str, Any]]
) -> None:
    release = enter(model, tracking_run="")

    registry.register(release.id)

    (version,) = client.search_model_versions("name = 'rides'")
    assert client.get_run(version.run_id).data.tags["request_id"] == "rides.hand.one"


def test_a_tracking_server_that_is_away_stops_nothing(
    away: None, model: tuple[Path, dict[str, Any]], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        assert registry.log_training(*model) == ""
        release = registry.register(enter(model, tracking_run="").id)
        registry.point_alias("rides", 1)

    assert release.status == "approved"
    said = [record.getMessage() for record in caplog.records if record.name == "include.registry"]
    assert len(said) == 3
    assert all("http://127.0.0.1:9 does not answer" in message for message in said)


def test_other_errors_are_not_forgiven(
    client: MlflowClient, model: tuple[Path, dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_args: Any, **_kwargs: Any) -> None:
        raise MlflowException("malformed")

    monkeypatch.setattr(MlflowClient, "log_batch", refuse)

    with pytest.raises(MlflowException, match="malformed"):
        registry.log_training(*model)


def test_a_forgotten_trainings_files_go_and_its_numbers_stay(
    client: MlflowClient, model: tuple[Path, dict[str, Any]], settings: Settings
) -> None:
    run_id = registry.log_training(*model)
    files = [path for path in (settings.data / "mlartifacts").rglob("*") if path.is_file()]

    assert registry.forget("rides", "rides.hand.one")
    assert registry.forget("rides", "rides.hand.one")

    assert files
    assert not any(path.exists() for path in files)
    assert client.get_run(run_id).data.metrics["final_auc"] == pytest.approx(0.7)


def test_nothing_is_forgotten_while_mlflow_is_away(away: None, settings: Settings) -> None:
    assert not registry.forget("rides", "rides.hand.one")
