"""This file brings challenger and champion before the gate, and enters the verdict in the ledger."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from include import artefact, lake, models
from include.errors import ArtefactError
from include.evaluation import Verdict, gate, metrics, quality
from include.learning.task import LABEL, Task
from include.ledger import Release, jobs, open_ledger, releases, requests
from include.pipeline import Pipeline
from include.repairs.estimate import LOSS, Labelled, levelled, recalibration_gate
from include.repairs.recent import Model, read_model
from include.slices import values_of, with_columns
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
    with open_ledger() as session:
        release = releases.release_for_request(session, request_id)
        champion = releases.champion_of(session, pipeline.name)
    folder = model_folder(pipeline.name, request_id)
    manifest = artefact.read_manifest(release.model_uri if release else folder)
    if release is None:
        judged = judge(pipeline, folder, manifest, champion)
        release = _enter(folder, manifest, champion, judged)
        log.info("%s is %s. %s", release.id, release.status, judged.verdict.reason)
    if manifest["snapshot_id"]:
        lake.tag_snapshot(pipeline.name, manifest["snapshot_id"], f"v{release.version}")
    return release.id


def judge(pipeline: Pipeline, folder: Path, manifest: Manifest, champion: Release | None) -> Judged:
    """Score challenger and champion on the challenger's hold-out and return the gate's verdict.

    Only days that the champion has not learned from either are compared. Where recalibrating is allowed and more than
    the order counts, both are judged as it would keep them: each day corrected by what the others of the hold-out show.
    A champion that answers
    another kind of question (the YAML's task has changed) cannot be compared: the challenger then has to beat the
    constant prediction, as a first model does.
    """
    rows = pq.read_table(folder / artefact.HOLDOUT)
    challenger = read_model(folder, manifest["sha256"])
    mine = challenger.task
    found = challenger.answer(rows, corrected=True)
    difference = float(mine.difference(found, mine.recorded(rows)).max())
    if not difference <= SAME:
        raise ArtefactError(
            f"{folder}: the model differs from its recorded predictions by up to {difference:.2e}, at most {SAME:.0e} "
            "is allowed. Its hold-out or the runtime has changed: train again."
        )
    rival = read_model(champion.model_uri, champion.sha256) if champion else None
    if rival and rival.task.name != mine.name:
        rival = None
    everyone, all_labels, (all_judged,) = mine.compare(rows[LABEL], (mine, artefact.judged(rows, mine)))
    worth = metrics(everyone, all_labels, all_judged, prices=everyone.prices(pipeline.gate.costs))
    if rival is None:
        verdict = gate(everyone, all_labels, all_judged, None, _days(pipeline, rows), policy=pipeline.gate)
        return Judged(verdict, worth)
    fair = rows.filter(pc.greater(pc.cast(rows[pipeline.date], pa.string()), rival.learned_until))
    if not len(fair):
        return Judged(_nothing_to_compare(pipeline, rival), worth)
    return Judged(_compare(pipeline, manifest, fair, mine, rival), worth)


def _compare(pipeline: Pipeline, manifest: Manifest, rows: pa.Table, mine: Task, rival: Model) -> Verdict:
    repair, repairs = manifest["repair"], pipeline.governor.repairs
    wanted = artefact.features_of(rival.manifest).names
    is_level = repair == "recalibrate"
    theirs = rival.answer(with_columns(pipeline, manifest, rows, wanted), corrected=is_level)
    task, labels, (new, old) = mine.compare(
        rows[LABEL], (mine, artefact.judged(rows, mine)), (rival.task, np.asarray(theirs, dtype=np.float64))
    )
    days = _days(pipeline, rows)
    policy = pipeline.gate
    if not is_level:
        new, old = levelled(Labelled(task.name, labels, days), (new, old), policy, repairs)
    else:
        policy = recalibration_gate(policy, task.name, quality(LOSS[task.name], labels, old))
    values = values_of(pipeline, manifest, rows, pipeline.gate.slices)
    return gate(task, labels, new, old, days, policy=policy, slices=values)


def _nothing_to_compare(pipeline: Pipeline, rival: Model) -> Verdict:
    reason = (
        f"Refused: no held-out day is newer than what the champion has learned from ({rival.learned_until}), and both "
        "have to be judged on days that neither has seen. Train again when more days have their labels."
    )
    return Verdict(False, pipeline.gate.metric, None, None, None, None, 0, 0, reason)


def _days(pipeline: Pipeline, rows: pa.Table) -> npt.NDArray[np.str_]:
    days: npt.NDArray[np.str_] = pc.cast(rows[pipeline.date], pa.string()).to_numpy(zero_copy_only=False).astype(str)
    return days


def _enter(folder: Path, manifest: Manifest, champion: Release | None, judged: Judged) -> Release:
    # One transaction: there is never a candidate that nobody judged, nor a closed request without its release.
    pipeline, request_id, verdict = manifest["pipeline"], manifest["request_id"], judged.verdict
    seconds = sum(manifest["seconds"].values())
    device_seconds = seconds * manifest.get("accelerator", {}).get("processes", 1)
    price = manifest.get("accelerator", {}).get("price_per_hour", 0.0)
    model_uri = models.keep(pipeline, folder)
    with open_ledger() as session:
        paid = jobs.cost_of_request(session, request_id)  # of all its attempts, as the platform counts
        release = releases.add_release(
            session,
            pipeline,
            request_id,
            model_uri=model_uri,
            sha256=manifest["sha256"],
            tracking_run=manifest["tracking_run"],
            judged_until=manifest["holdout_days"][1],
            quality=judged.metrics[verdict.metric],
            metrics={
                **judged.metrics,
                "train_rows": manifest["train_rows"],
                "holdout_rows": manifest["holdout_rows"],
                "trained_until": manifest.get("trained_until", manifest["holdout_days"][1]),
                "seconds": round(seconds, 3),
                "device_seconds": round(device_seconds, 3),
                "training_cost": round(paid or device_seconds / 3600 * price, 6),
            },
            gate=verdict.as_dict(),
            compared_with=champion.version if champion else None,
        )
        release = releases.judge(session, release.id, approved=verdict.passed, note=verdict.reason)
        requests.close_request(session, request_id, status="done", note=f"{release.id}: {verdict.reason}")
    return release
