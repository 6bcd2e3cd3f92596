"""This file reads the newest days whose outcome is known, and what models answer to them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from include import artefact, lake
from include.learning.kinds import labels_of, task_of
from include.learning.scoring import Floats
from include.learning.task import LABEL, Task
from include.models import folder_of
from include.pipeline import Pipeline
from include.repairs.correction import uncorrected
from include.repairs.estimate import Answers
from include.training.data import feature_columns

Manifest = Mapping[str, Any]


@dataclass(frozen=True)
class Model:
    """A release's model: what is said about it, and its graph as training made it."""

    folder: Path
    manifest: Manifest
    content: bytes  # checked against the registered fingerprint, correction and all

    @property
    def task(self) -> Task:
        """Return what it answers."""
        return task_of(self.manifest)

    @property
    def network(self) -> str:
        """Return the fingerprint of the model as training made it: a recalibration changes everything but this."""
        return str(self.manifest.get("network", self.manifest["sha256"]))

    @property
    def learned_until(self) -> str:
        """Return the newest day whose labels its network has seen."""
        return str(self.manifest["train_days"][1])

    def answer(self, rows: pa.Table, *, corrected: bool) -> Floats:
        """Return its answers to rows of the clean table, with or without the correction it has."""
        features = artefact.features_of(self.manifest)
        content = self.content if corrected else uncorrected(self.content)
        return artefact.predict(artefact.session_of(content), feature_columns(rows, features), features)


def read_model(folder: Path | str, sha256: str) -> Model:
    """Return the model in a folder.

    :raises ArtefactError: if it is missing or was altered.
    """
    manifest = artefact.read_manifest(folder)
    return Model(folder_of(folder), manifest, artefact.read_checked(folder, sha256))


def read_labelled(
    pipeline: Pipeline,
    days: Sequence[str],
    columns: Sequence[str],
    *,
    rows_per_day: int,
    snapshot_id: str | None = None,
) -> pa.Table:
    """Return the labelled rows of some days in the order of days, with `label` as the task keeps it.

    Of a day with more rows than asked for, a sample is taken, always the same one.
    """
    wanted = dict.fromkeys([pipeline.key, pipeline.date, pipeline.training.target, *columns])
    table = lake.read_clean(pipeline.name, days[0], days[-1], list(wanted), snapshot_id)
    labels = labels_of(table, pipeline.training.task, pipeline.training.target)
    dates = pc.cast(table[pipeline.date], pa.string())
    table = table.set_column(table.column_names.index(pipeline.date), pipeline.date, dates).append_column(LABEL, labels)
    table = table.filter(pc.and_(pc.is_valid(table[LABEL]), pc.is_in(dates, value_set=pa.array(days, pa.string()))))
    return table.take(_sample(table[pipeline.date].to_numpy(zero_copy_only=False), rows_per_day))


def in_common_terms(rows: pa.Table, models: Mapping[Any, tuple[Task, Floats]], task: Task) -> tuple[Any, ...]:
    """Return (task, labels, answers by model), all in terms of one task that knows every class there is."""
    everyone, labels, found = task.compare(rows[LABEL], *models.values())
    return everyone, labels, dict(zip(models, found, strict=True))


def as_answers(model: Model, predictions: Floats) -> Answers:
    """Return a model's uncorrected answers with the newest day it has learned from."""
    return Answers(predictions, model.learned_until)


def _sample(days: Any, most: int) -> Any:
    names, first, counts = np.unique(days, return_index=True, return_counts=True)
    dice = np.random.default_rng(7)
    kept = [
        start + (np.arange(count) if count <= most else np.sort(dice.choice(count, most, replace=False)))
        for start, count in zip(first, counts, strict=True)
    ]
    return np.concatenate(kept) if len(names) else np.array([], dtype=np.int64)
