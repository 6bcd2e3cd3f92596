"""This file brings challenger and champion before the gate, and enters the verdict in the ledger."""

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from include import artefact, lake
from include.errors import ArtefactError
from include.evaluation import Verdict, gate, metrics
from include.learning.kinds import task_of
from include.learning.scoring import Floats
from include.learning.task import LABEL, Task
from include.ledger import Release, open_ledger, releases, requests
from include.pipeline import Pipeline
from include.training.data import feature_columns
from include.training.spec import model_folder

log = logging.getLogger(__name__)

SAME = 1e-6

Manifest = Mapping[str, Any]


@dataclass(frozen=True)
class Judged:
    """What the gate said, and the challenger's metrics: none if it could not be measured."""

    verdict: Verdict
    metrics: dict[str, float]


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
        judged = judge(pipeline, folder, manifest, champion)
        release = _enter(folder, manifest, champion, judged)
        log.info("%s is %s. %s", release.id, release.status, judged.verdict.reason)
    if manifest["snapshot_id"]:
        lake.tag_snapshot(pipeline.name, manifest["snapshot_id"], f"v{release.version}")
    return release.id


def judge(pipeline: Pipeline, folder: Path, manifest: Manifest, champion: Release | None) -> Judged:
    """Score challenger and champion on the challenger's hold-out and return the gate's verdict.

    A champion that answers another kind of question (the YAML's task has changed) cannot be compared: the challenger
    then has to beat the constant prediction, as a first model does.
    """
    rows = pq.read_table(folder / artefact.HOLDOUT)
    mine = task_of(manifest)
    challenger = _predict(folder, manifest["sha256"], rows)
    difference = float(mine.difference(challenger, mine.recorded(rows)).max())
    if not difference <= SAME:
        raise ArtefactError(
            f"{folder}: the model differs from its recorded predictions by up to {difference:.2e}, at most {SAME:.0e} "
            "is allowed. Its hold-out or the runtime has changed: train again."
        )
    scored: list[tuple[Task, Floats]] = [(mine, challenger)]
    if champion and (theirs := task_of(artefact.read_manifest(champion.model_uri))).name == mine.name:
        scored.append((theirs, _predict_as_champion(pipeline, champion, manifest, rows)))
    task, labels, (new, *old) = mine.compare(rows[LABEL], *scored)
    days = rows[pipeline.date].to_numpy()
    slices = _slices(pipeline, manifest, rows) if old else {}
    verdict = gate(task, labels, new, old[0] if old else None, days, policy=pipeline.gate, slices=slices)
    return Judged(verdict, metrics(task, labels, new, prices=task.prices(pipeline.gate.costs)))


def _predict(folder: Path | str, sha256: str, rows: pa.Table) -> Floats:
    features = artefact.features_of(artefact.read_manifest(folder))
    return artefact.predict(artefact.load_session(folder, sha256), feature_columns(rows, features), features)


def _predict_as_champion(pipeline: Pipeline, champion: Release, manifest: Manifest, rows: pa.Table) -> Floats:
    wanted = artefact.features_of(artefact.read_manifest(champion.model_uri)).names
    return _predict(champion.model_uri, champion.sha256, _with_columns(pipeline, manifest, rows, wanted))


def _slices(pipeline: Pipeline, manifest: Manifest, rows: pa.Table) -> dict[str, list[str]]:
    table = _with_columns(pipeline, manifest, rows, pipeline.gate.slices)
    return {
        name: pc.fill_null(pc.cast(table[name], pa.string()), "(missing)").to_pylist() for name in pipeline.gate.slices
    }


def _with_columns(pipeline: Pipeline, manifest: Manifest, rows: pa.Table, wanted: Iterable[str]) -> pa.Table:
    if set(wanted) <= set(rows.column_names):
        return rows
    # The YAML has changed, or a column is no feature: what is wanted is looked up where the hold-out came from.
    first, last = manifest["holdout_days"]
    columns = [pipeline.key, *(name for name in wanted if name != pipeline.key)]
    table = lake.read_clean(pipeline.name, first, last, columns, manifest["snapshot_id"])
    return table.take(pc.index_in(rows[pipeline.key], value_set=table[pipeline.key].combine_chunks()))


def _enter(folder: Path, manifest: Manifest, champion: Release | None, judged: Judged) -> Release:
    # One transaction: there is never a candidate that nobody judged, nor a closed request without its release.
    pipeline, request_id, verdict = manifest["pipeline"], manifest["request_id"], judged.verdict
    with open_ledger() as session:
        release = releases.add_release(
            session,
            pipeline,
            request_id,
            model_uri=str(folder),
            sha256=manifest["sha256"],
            tracking_run=manifest["tracking_run"],
            judged_until=manifest["holdout_days"][1],
            quality=judged.metrics[verdict.metric],
            metrics={
                **judged.metrics,
                "train_rows": manifest["train_rows"],
                "holdout_rows": manifest["holdout_rows"],
            },
            gate=verdict.as_dict(),
            compared_with=champion.version if champion else None,
        )
        release = releases.judge(session, release.id, approved=verdict.passed, note=verdict.reason)
        requests.close_request(session, request_id, status="done", note=f"{release.id}: {verdict.reason}")
    return release
