"""This file brings challenger and champion before the gate, and enters the verdict in the ledger."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from include import artefact, lake
from include.errors import ArtefactError
from include.evaluation import Verdict, gate
from include.ledger import Release, open_ledger, releases, requests
from include.pipeline import Pipeline
from include.training.data import feature_columns
from include.training.spec import model_folder

log = logging.getLogger(__name__)

SAME = 1e-6

Manifest = Mapping[str, Any]
Predictions = npt.NDArray[np.float32]


def evaluate(pipeline: Pipeline, request_id: str) -> str:
    """Judge a request's model and return its release's id; a release that was judged before stays as it was.

    :raises ArtefactError: if the model is missing, altered, or does not reproduce its recorded predictions.
    """
    folder = model_folder(pipeline.name, request_id)
    manifest = artefact.read_manifest(folder)
    with open_ledger() as session:
        release = releases.release_for_request(session, request_id)
        champion = releases.champion_of(session, pipeline.name)
    if release is None:
        verdict = judge(pipeline, folder, manifest, champion)
        release = _enter(folder, manifest, champion, verdict)
        log.info("%s is %s. %s", release.id, release.status, verdict.reason)
    if manifest["snapshot_id"]:
        lake.tag_snapshot(pipeline.name, manifest["snapshot_id"], f"v{release.version}")
    return release.id


def judge(pipeline: Pipeline, folder: Path, manifest: Manifest, champion: Release | None) -> Verdict:
    """Score challenger and champion on the challenger's hold-out and return the gate's verdict."""
    rows = pq.read_table(folder / artefact.HOLDOUT)
    challenger = _predict(folder, manifest["sha256"], rows)
    difference = float(np.abs(challenger - rows["prediction"].to_numpy()).max())
    if not difference <= SAME:
        raise ArtefactError(
            f"{folder}: the model differs from its recorded predictions by up to {difference:.2e}, at most {SAME:.0e} "
            "is allowed. Its hold-out or the runtime has changed: train again."
        )
    incumbent = _predict_as_champion(pipeline, champion, manifest, rows) if champion else None
    labels = rows["label"].to_numpy().astype(np.float64)
    return gate(labels, challenger, incumbent, rows[pipeline.date].to_numpy(), policy=pipeline.gate)


def _predict(folder: Path | str, sha256: str, rows: pa.Table) -> Predictions:
    features = artefact.features_of(artefact.read_manifest(folder))
    return artefact.predict(artefact.load_session(folder, sha256), feature_columns(rows, features), features)


def _predict_as_champion(pipeline: Pipeline, champion: Release, manifest: Manifest, rows: pa.Table) -> Predictions:
    wanted = artefact.features_of(artefact.read_manifest(champion.model_uri)).names
    if not set(wanted) <= set(rows.column_names):
        # The YAML's features have changed since the champion: what it takes is looked up where the hold-out came from.
        first, last = manifest["holdout_days"]
        columns = [pipeline.key, *wanted]
        table = lake.read_clean(pipeline.name, first, last, columns, manifest["snapshot_id"])
        rows = table.take(pc.index_in(rows[pipeline.key], value_set=table[pipeline.key].combine_chunks()))
    return _predict(champion.model_uri, champion.sha256, rows)


def _enter(folder: Path, manifest: Manifest, champion: Release | None, verdict: Verdict) -> Release:
    # One transaction: there is never a candidate that nobody judged, nor a closed request without its release.
    pipeline, request_id = manifest["pipeline"], manifest["request_id"]
    with open_ledger() as session:
        release = releases.add_release(
            session,
            pipeline,
            request_id,
            model_uri=str(folder),
            sha256=manifest["sha256"],
            tracking_run=manifest["tracking_run"],
            judged_until=manifest["holdout_days"][1],
            quality=manifest["metrics"][verdict.metric],
            metrics={
                **manifest["metrics"],
                "train_rows": manifest["train_rows"],
                "holdout_rows": manifest["holdout_rows"],
            },
            gate=verdict.as_dict(),
            compared_with=champion.version if champion else None,
        )
        release = releases.judge(session, release.id, approved=verdict.passed, note=verdict.reason)
        requests.close_request(session, request_id, status="done", note=f"{release.id}: {verdict.reason}")
    return release
