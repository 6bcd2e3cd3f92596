"""This file makes a challenger out of a model that is there already: the champion recalibrated, or a former one."""

import logging
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from include import artefact
from include.config import load_pipeline
from include.errors import ConfigError
from include.evaluation import metrics
from include.learning import calibration
from include.learning.task import LABEL
from include.repairs.correction import corrected
from include.repairs.estimate import Labelled, corrected_by_others
from include.repairs.recent import Model, read_labelled, read_model
from include.training.spec import Spec
from include.training.store import Files, Stopwatch, store

log = logging.getLogger(__name__)

_OF_THE_TRAINING = {"recipe_days", "baseline", "accelerator"}


def recalibrate(spec: Spec, seconds: Stopwatch) -> dict[str, Any]:
    """Correct the champion's answers by the newest labelled days and return the new model's manifest.

    The network stays as it is; a correction that it has is replaced. What the gate judges is what the others of these
    days would have made of each.
    """
    return _remake(spec, seconds)


def reinstate(spec: Spec, seconds: Stopwatch) -> dict[str, Any]:
    """Bring a former champion back, recalibrated on the newest labelled days, and return the new model's manifest."""
    return _remake(spec, seconds)


def _remake(spec: Spec, seconds: Stopwatch) -> dict[str, Any]:
    pipeline = load_pipeline(spec.pipeline)
    policy = pipeline.governor.repairs
    if spec.base is None:
        raise ConfigError(
            f"{spec.folder}: the spec names no model to {spec.repair}. Let `include.training.plan` write it."
        )
    base = read_model(spec.base, artefact.read_manifest(spec.base)["sha256"])
    task, features = base.task, artefact.features_of(base.manifest)
    with seconds("data"):
        holdout = _rows(spec, pipeline, features.names)
        raw = base.answer(holdout, corrected=False)
    days = holdout[pipeline.date].to_numpy(zero_copy_only=False).astype(str)
    rows = Labelled(task.name, task.encode(holdout[LABEL]), days)
    with seconds("steps"):
        kept, content = raw, base.content  # as recalibrating keeps it, without a day's own labels
        correction = calibration.CALIBRATIONS[task.name]()
        if policy.recalibrate is not None:
            kept = corrected_by_others(rows, raw, policy.doubt_days)
            correction = calibration.fit(task.name, rows.labels, raw, days, doubt_days=policy.doubt_days)
            content = corrected(base.content, correction)
    log.info("%s network %s on %s rows: %s", spec.repair, base.network[:12], len(holdout), correction)
    answers = Model(base.folder, base.manifest, content).answer(holdout, corrected=True)
    answered = artefact.with_answers(holdout, task, answers)
    # A former champion meets this one as a new network does: the gate brings both to their level.
    judged = kept if spec.repair == "recalibrate" else raw
    answered = artefact.with_answers(answered, task, judged, prefix=artefact.JUDGED)
    everyone, labels, (known,) = task.compare(holdout[LABEL], (task, kept))
    manifest = {
        **{name: value for name, value in base.manifest.items() if name not in _OF_THE_TRAINING},
        "request_id": spec.request_id,
        "reason": spec.reason,
        "repair": spec.repair,
        "network": base.network,
        "trained_until": base.manifest.get("trained_until", base.manifest["holdout_days"][1]),
        "correction": correction.as_dict(),
        "corrected_by": [spec.holdout_days[0], spec.holdout_days[1]],
        "holdout_days": list(spec.holdout_days),
        "holdout_rows": len(holdout),
        "holdout_snapshot_id": spec.snapshot_id,
        "sha256": artefact.sha256_of(content),
        "metrics": metrics(everyone, labels, known),
        "tracking_run": "",
        "seconds": {},
    }
    return store(spec, manifest, Files(content, answered, _reference(base, content)), seconds)


def _rows(spec: Spec, pipeline: Any, names: list[str]) -> pa.Table:
    first, last = spec.holdout_days
    days = [str(day) for day in np.arange(first, np.datetime64(last) + 1, dtype="datetime64[D]")]
    rows = read_labelled(pipeline, days, names, rows_per_day=spec.sample_rows, snapshot_id=spec.snapshot_id)
    return rows.select([spec.key, spec.date, LABEL, *names])


def _reference(base: Model, content: bytes) -> pa.Table:
    table = pq.ParquetFile(base.folder / artefact.REFERENCE).read()
    answers = Model(base.folder, base.manifest, content).answer(table, corrected=True)
    return artefact.with_answers(table.drop_columns([field.name for field in base.task.fields]), base.task, answers)
