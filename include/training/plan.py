"""This file decides what a training learns from and is judged on, and pins both."""

import json
import logging
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, get_args

import pyarrow as pa
import pyarrow.compute as pc
from sqlalchemy.orm import Session

from include import atomic, lake
from include.accelerators import accelerator_named
from include.artefact import read_manifest
from include.errors import ConfigError, NotEnoughDataError
from include.ledger import Release, Request, nights, open_ledger, releases
from include.models import folder_of
from include.pipeline import Pipeline
from include.recipe import Training, Tunable
from include.repairs.estimate import FEWEST_DAYS
from include.training.spec import Spec, model_folder, read_spec, work_folder

log = logging.getLogger(__name__)

Range = tuple[str, str]


def plan(pipeline: Pipeline, request_id: str) -> str:
    """Write the spec of a request's training and return its path.

    :raises ConfigError: if the ledger has no such request for this pipeline.
    :raises NotEnoughDataError: if there are too few labelled days or rows, saying how many there are.
    """
    with open_ledger() as session:
        request = session.get(Request, request_id)
        if request is None or request.pipeline != pipeline.name:
            raise ConfigError(
                f"The ledger has no request '{request_id}' of '{pipeline.name}': file one before training."
            )
        labelled = nights.labelled_days(session, pipeline.name)
        base = _base_of(session, request)

    if base is not None:
        return _write(_remake(pipeline, request, base, labelled))
    snapshot_id = lake.current_snapshot(pipeline.name)
    folder = model_folder(pipeline.name, request_id)
    training = _as_asked(pipeline.training, {**request.detail, **_tuned(folder)})
    newest = labelled[-(training.window_days + training.holdout_days) :]
    train_days, holdout_days = windows(_labelled_rows(pipeline, newest, snapshot_id), training, pipeline.name)
    spec = Spec(
        pipeline=pipeline.name,
        request_id=request_id,
        reason=request.reason,
        key=pipeline.key,
        date=pipeline.date,
        snapshot_id=snapshot_id,
        train_days=train_days,
        holdout_days=holdout_days,
        training=training,
        sample_rows=pipeline.monitoring.sample_rows,
        folder=folder,
        accelerator=accelerator_named(training.accelerator),
    )
    spec = _as_begun(spec)
    log.info(
        "Train on %s to %s, hold out %s to %s, snapshot %s", *spec.train_days, *spec.holdout_days, spec.snapshot_id
    )
    return _write(spec)


def _as_begun(spec: Spec) -> Spec:
    """Return the spec of an earlier try of the same training, if it has left something to go on from.

    New days may have been published since: they are the next training's.
    """
    with suppress(ConfigError):
        begun = read_spec(spec.work / "spec.json")
        is_same = (begun.training, begun.accelerator) == (spec.training, spec.accelerator)
        if is_same and begun.scratch.exists():
            return begun
    return spec


def windows(labelled: Mapping[str, int], training: Training, name: str) -> tuple[Range, Range]:
    """Return (training range, hold-out range): the newest labelled days are held out, those before are learned from.

    With a short history the training window is shorter than asked for; the hold-out is not.

    :param labelled: rows with a label, by day.
    """
    days = sorted(day for day, rows in labelled.items() if rows)
    holdout = days[-training.holdout_days :]
    train = days[-training.holdout_days - training.window_days : -training.holdout_days]
    rows = sum(labelled[day] for day in train)
    if not train or rows < training.min_rows:
        found = f"{len(days)} labelled days ({days[0]} to {days[-1]})" if days else "no labelled day"
        raise NotEnoughDataError(
            f"'{name}' has {found}: {rows} rows to train on once the newest {training.holdout_days} days are held out. "
            f"At least {training.min_rows} rows are needed (`training.min_rows`): ingest more days."
        )
    return (train[0], train[-1]), (holdout[0], holdout[-1])


def _write(spec: Spec) -> str:
    path = spec.work / "spec.json"
    atomic.write_text(path, spec.model_dump_json(indent=2))
    return str(path)


def _base_of(session: Session, request: Request) -> Release | None:
    """Return the release that a cheap repair starts from; None for a training."""
    if request.repair == "retrain":
        return None
    version = request.detail.get("version")
    if request.repair == "reinstate":
        return releases.get_release(session, f"{request.pipeline}.v{version}")
    champion = releases.champion_of(session, request.pipeline)
    if champion is None:
        raise ConfigError(f"{request.id} asks to recalibrate the champion of '{request.pipeline}', which has none.")
    return champion


def _remake(pipeline: Pipeline, request: Request, base: Release, labelled: list[str]) -> Spec:
    manifest, snapshot_id = read_manifest(base.model_uri), lake.current_snapshot(pipeline.name)
    later = [day for day in labelled if day > manifest["train_days"][1]]
    rows = _labelled_rows(pipeline, later[-pipeline.governor.repairs.window_days :], snapshot_id)
    days = [day for day in rows if rows[day]]
    if len(days) < FEWEST_DAYS:
        raise NotEnoughDataError(
            f"'{pipeline.name}' has {len(days)} labelled days after those that {base.id} has learned from (until "
            f"{manifest['train_days'][1]}): at least {FEWEST_DAYS} are needed to {request.repair} it. Ingest more days."
        )
    return Spec(
        pipeline=pipeline.name,
        request_id=request.id,
        reason=request.reason,
        key=pipeline.key,
        date=pipeline.date,
        snapshot_id=snapshot_id,
        train_days=tuple(manifest["train_days"]),
        holdout_days=(days[0], days[-1]),
        training=pipeline.training,
        sample_rows=pipeline.monitoring.sample_rows,
        folder=model_folder(pipeline.name, request.id),
        repair=request.repair,
        base=folder_of(base.model_uri),
    )


def _as_asked(training: Training, detail: Mapping[str, Any]) -> Training:
    # A person may ask for another window, number of epochs or accelerator; a search may have found better ones.
    changed = ("window_days", "accelerator", *get_args(Tunable))
    asked = {name: detail[name] for name in changed if name in detail}
    return Training.model_validate({**training.model_dump(), **asked})


def _tuned(folder: Path) -> dict[str, Any]:
    """Return the hyper-parameters that a search has found for this request's model; none without a search."""
    path = work_folder(folder) / "tuned.json"
    return dict(json.loads(path.read_text())) if path.exists() else {}


def _labelled_rows(pipeline: Pipeline, days: list[str], snapshot_id: str | None) -> dict[str, int]:
    """Return the snapshot's rows with a label, by day: the ledger knows which days have any, and may be ahead of it."""
    if not days:
        return {}
    target = pipeline.training.target
    table = lake.read_clean(pipeline.name, days[0], days[-1], [pipeline.date, target], snapshot_id)
    dates = pc.cast(table[pipeline.date], pa.string())
    counts = pa.table({"day": dates, "label": table[target]}).group_by("day").aggregate([("label", "count")])
    by_day = dict(zip(counts["day"].to_pylist(), counts["label_count"].to_pylist(), strict=True))
    return {day: by_day.get(day, 0) for day in days}
