"""This file shows trainings and releases in MLflow. It is a projection of the ledger: it may lag, it never decides."""

import logging
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests
from mlflow import MlflowClient  # noqa: TID253 - tasks import this file, never a DAG's top
from mlflow.entities import Metric, Param, RunStatus, RunTag  # noqa: TID253
from mlflow.entities.model_registry import ModelVersion  # noqa: TID253
from mlflow.exceptions import MlflowException  # noqa: TID253
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository  # noqa: TID253

from include import artefact
from include.ledger import Release, open_ledger, releases
from include.models import folder_of
from include.settings import load_settings

log = logging.getLogger(__name__)

ARTEFACT = "model"
VERSION_TAG = "evergreen_version"
COST = "training_cost"


def log_training(folder: Path, manifest: Mapping[str, Any]) -> str:
    """Log a training and its whole folder as an MLflow run, once, and return the run's id; "" if the server is away."""
    with _forgiving(f"the training of {manifest['request_id']} is not in MLflow yet; `register` will try again"):
        return _log_training(_client(), folder, manifest)
    return ""


def log_trials(pipeline_name: str, request_id: str, trials: list[dict[str, Any]]) -> None:
    """Show a search's trials as runs below one run of the search, once."""
    with _forgiving(f"the trials of {request_id} are not in MLflow"):
        client = _client()
        experiment = _experiment(client, pipeline_name)
        if client.search_runs([experiment], f"tags.search = '{request_id}'"):
            return
        parent = client.create_run(experiment, run_name=f"{request_id} search", tags={"search": request_id})
        for number, trial in enumerate(trials):
            below = {"mlflow.parentRunId": parent.info.run_id, "state": trial["state"]}
            run_id = client.create_run(experiment, run_name=f"trial {number}", tags=below).info.run_id
            params = [Param(name, str(value)) for name, value in trial["params"].items()]
            metrics = [] if trial["loss"] is None else [Metric("loss", trial["loss"], int(time.time() * 1000), 0)]
            client.log_batch(run_id, metrics=metrics, params=params)
            client.set_terminated(run_id)
        client.set_terminated(parent.info.run_id)


def register(release_id: str) -> Release:
    """Show a release as a version of the registered model named after the pipeline, and return it from the ledger."""
    with open_ledger() as session:
        release = releases.get_release(session, release_id)
    with _forgiving(f"{release_id} is not registered in MLflow yet; clear this task once MLflow is back"):
        client = _client()
        version = _version_of(client, release)
        client.set_model_version_tag(release.pipeline, version.version, "status", release.status)
        client.update_model_version(release.pipeline, version.version, description=release.note)
        _show_cost(client, release, version)
        log.info("Registered %s as version %s in MLflow", release_id, version.version)
    return release


def point_alias(pipeline_name: str, version: int, alias: str = "champion") -> None:
    """Point an alias of the registered model at the ledger's version; register that version first if need be."""
    with open_ledger() as session:
        release = releases.get_release(session, f"{pipeline_name}.v{version}")
    with _forgiving(f"MLflow's alias '{alias}' does not point at {release.id} yet"):
        client = _client()
        client.set_registered_model_alias(pipeline_name, alias, _version_of(client, release).version)


def forget(pipeline_name: str, request_id: str) -> bool:
    """Delete the files of a request's trainings, and say whether MLflow was there; their metrics stay to be read."""
    with _forgiving(f"the files of {request_id} are still there"):
        client = _client()
        experiment = client.get_experiment_by_name(pipeline_name)
        found = [experiment.experiment_id] if experiment else []
        for run in client.search_runs(found, f"tags.request_id = '{request_id}'") if found else []:
            get_artifact_repository(f"{run.info.artifact_uri}/{ARTEFACT}").delete_artifacts()  # type: ignore[no-untyped-call]
        return True
    return False


def _client() -> MlflowClient:
    # MLflow reads these at each request; by itself it tries for many minutes.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "15")
    return MlflowClient(tracking_uri=load_settings().tracking_url)


@contextmanager
def _forgiving(consequence: str) -> Iterator[None]:
    # A model must not be lost because nobody listens at the tracking server; any other error is one to mend.
    try:
        yield
    except (MlflowException, requests.exceptions.RequestException) as error:
        if not _is_unreachable(error):
            raise
        log.warning("The tracking server %s does not answer: %s (%s)", load_settings().tracking_url, consequence, error)


def _is_unreachable(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, requests.exceptions.ConnectionError | requests.exceptions.Timeout):
            return True
        error = error.__cause__ or error.__context__
    return False


def _log_training(client: MlflowClient, folder: Path, manifest: Mapping[str, Any]) -> str:
    experiment_id = _experiment(client, manifest["pipeline"])
    same = f"tags.request_id = '{manifest['request_id']}' and tags.sha256 = '{manifest['sha256']}'"
    known = [run.info.run_id for run in client.search_runs([experiment_id], same) if run.info.status == "FINISHED"]
    if known:
        return str(known[0])

    run_id: str = client.create_run(experiment_id, run_name=manifest["request_id"]).info.run_id
    client.log_batch(run_id, metrics=_metrics(manifest), params=_params(manifest), tags=_tags(manifest))
    client.log_artifacts(run_id, str(folder), ARTEFACT)
    client.set_terminated(run_id, RunStatus.to_string(RunStatus.FINISHED))
    return run_id


def _metrics(manifest: Mapping[str, Any]) -> list[Metric]:
    now = int(time.time() * 1000)
    curves = [
        Metric(name, value, now, epoch)
        for name, values in manifest["curves"].items()
        for epoch, value in enumerate(values, 1)
    ]
    last = len(manifest["losses"])
    ends = {f"final_{name}": value for name, value in manifest["metrics"].items()}
    ends |= {f"baseline_{name}": value for name, value in manifest.get("baseline", {}).items()}
    return [*curves, *(Metric(name, value, now, last) for name, value in ends.items())]


def _params(manifest: Mapping[str, Any]) -> list[Param]:
    windows = {name: " to ".join(manifest[name]) for name in ("train_days", "holdout_days")}
    rows = {name: manifest[name] for name in ("train_rows", "holdout_rows")}
    rows |= {f"accelerator_{name}": value for name, value in manifest.get("accelerator", {}).items()}
    return [Param(name, str(value)) for name, value in {**manifest["parameters"], **windows, **rows}.items()]


def _tags(manifest: Mapping[str, Any]) -> list[RunTag]:
    return [RunTag(name, str(manifest[name])) for name in ("pipeline", "request_id", "reason", "snapshot_id", "sha256")]


def _experiment(client: MlflowClient, name: str) -> str:
    known = client.get_experiment_by_name(name)
    if known:
        return str(known.experiment_id)
    settings = load_settings()
    # A server says itself where artefacts go; without one they lie beside the other data.
    local = None if settings.tracking_url.startswith("http") else (settings.data / "mlartifacts" / name).as_uri()
    return str(client.create_experiment(name, artifact_location=local))


def _show_cost(client: MlflowClient, release: Release, version: ModelVersion) -> None:
    """Enter what all attempts at a model have cost together: nobody knew that when its run was logged."""
    if (cost := release.metrics.get(COST)) and version.run_id:
        client.set_model_version_tag(release.pipeline, version.version, COST, str(cost))
        # Always the same moment: entered again it is the same entry.
        client.log_metric(str(version.run_id), COST, cost, timestamp=int(release.at.timestamp() * 1000), step=0)


def _version_of(client: MlflowClient, release: Release) -> ModelVersion:
    """Return MLflow's version of a release; create it if there is none."""
    if not client.search_registered_models(f"name = '{release.pipeline}'"):
        client.create_registered_model(release.pipeline)
    for version in client.search_model_versions(f"name = '{release.pipeline}'"):
        if version.tags.get(VERSION_TAG) == str(release.version):
            return version
    manifest = artefact.read_manifest(release.model_uri)
    run_id = release.tracking_run or _log_training(client, folder_of(release.model_uri), manifest)
    source = f"{client.get_run(run_id).info.artifact_uri}/{ARTEFACT}"
    tags = {VERSION_TAG: str(release.version), "request_id": release.request_id, "sha256": release.sha256}
    tags["snapshot_id"] = str(manifest["snapshot_id"])
    return client.create_model_version(release.pipeline, source, run_id, tags=tags)
