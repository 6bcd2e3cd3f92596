"""This file gathers what a window is held against: what is known of the version that answered, or why it is not."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from include.artefact import HOLDOUT, REFERENCE, features_of, judged, read_manifest
from include.errors import ArtefactError
from include.learning.kinds import KINDS, task_of
from include.learning.task import LABEL, PREDICTION, Task
from include.ledger import Release
from include.models import folder_of
from include.monitoring.estimation import Holdout
from include.monitoring.noise import noise_of
from include.pipeline import Pipeline
from include.recipe import Features


@dataclass(frozen=True)
class Baseline:
    """A version as its training left it; what is missing is empty, with the reason."""

    task: Task
    quality: float | None  # on its hold-out, in the governor's metric
    manifest: Mapping[str, Any] = field(default_factory=dict)
    reference: pa.Table | None = None  # a sample of its training window
    noise: Mapping[str, float] = field(default_factory=dict)
    holdout: Holdout | None = None
    why: str = ""

    @property
    def features(self) -> Features:
        """Return the columns that the version takes."""
        return features_of(self.manifest)


def baseline_of(pipeline: Pipeline, release: Release | None, rows: pa.Table, cache: Path) -> Baseline:
    """Return what is known of a release; of a lost one, what its answers show.

    :param cache: folder where what was computed about a model is kept.
    """
    quality = release.metrics.get(pipeline.governor.metric) if release else None
    try:
        manifest = read_manifest(release.model_uri if release else "")
        task = task_of(manifest)
    except ArtefactError as error:  # what it answered can be judged without it
        lost = "The version that answered is not in the ledger, so its training window is not known."
        why = str(error) if release else lost
        return Baseline(KINDS[pipeline.training.task].from_answers(rows), quality, why=why)
    folder = folder_of(release.model_uri if release else "")
    try:
        reference = pq.ParquetFile(folder / REFERENCE).read()
    except (OSError, pa.ArrowException) as error:
        why = f"{folder / REFERENCE}: no sample of the training window ({error}). Drift cannot be measured."
        return Baseline(task, quality, manifest, holdout=_holdout_of(folder, task, pipeline.date), why=why)
    try:
        noise = noise_of(pipeline, str(folder), reference, cache)
    except ValueError as error:  # the model is altered; its snapshot or a column of it is gone
        why = f"How far single training days lay from each other is not known: {error}"
        return Baseline(task, quality, manifest, holdout=_holdout_of(folder, task, pipeline.date), why=why)
    return Baseline(task, quality, manifest, reference, noise, _holdout_of(folder, task, pipeline.date))


def _holdout_of(folder: Path, task: Task, date: str) -> Holdout | None:
    try:
        rows = pq.ParquetFile(folder / HOLDOUT).read()
    except (OSError, pa.ArrowException):
        return None
    if not {LABEL, PREDICTION, date} <= set(rows.column_names):
        return None
    rows = rows.filter(pc.is_valid(rows[LABEL]))
    return Holdout(
        task, task.encode(rows[LABEL]).astype(float), judged(rows, task), rows[date].cast(pa.string()).to_numpy()
    )
