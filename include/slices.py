"""This file parts held-out rows into the groups of `gate.slices`, and says what a model is worth on each."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as dataset

from include import lake
from include.evaluation import quality
from include.learning.metrics import metrics_of
from include.learning.scoring import Floats
from include.learning.task import Task
from include.pipeline import Pipeline
from include.policy import Gate

SHOWN = 10  # values of a column: those with most rows

Manifest = Mapping[str, Any]
Worth = dict[str, dict[str, float]]  # by value: rows, and what metrics can be computed of them


def values_of(
    pipeline: Pipeline, manifest: Manifest, rows: pa.Table, columns: Sequence[str], brought: Path | None = None
) -> dict[str, list[str]]:
    """Return each held-out row's value of some columns of the clean table.

    :param brought: a folder of Parquet files with its rows, where there is no lake.
    """
    table = with_columns(pipeline, manifest, rows, columns, brought)
    return {name: pc.fill_null(pc.cast(table[name], pa.string()), "(missing)").to_pylist() for name in columns}


def with_columns(
    pipeline: Pipeline, manifest: Manifest, rows: pa.Table, wanted: Iterable[str], brought: Path | None = None
) -> pa.Table:
    """Return the held-out rows with these columns of the clean table, whether or not the model takes them."""
    if set(wanted) <= set(rows.column_names):
        return rows
    # The YAML has changed, or a column is no feature: what is wanted is looked up where the hold-out came from.
    first, last = manifest["holdout_days"]
    columns = [pipeline.key, *(name for name in wanted if name != pipeline.key)]
    # A repair's days are newer than the snapshot that its network has learned from.
    snapshot_id = manifest.get("holdout_snapshot_id", manifest["snapshot_id"])
    if brought:
        day_of = pc.field(pipeline.date).cast(pa.string())
        table = dataset.dataset(brought).to_table(columns=columns, filter=(day_of >= first) & (day_of <= last))
    else:
        table = lake.read_clean(pipeline.name, first, last, columns, snapshot_id)
    return table.take(pc.index_in(rows[pipeline.key], value_set=table[pipeline.key].combine_chunks()))


def worth_of(
    task: Task, labels: Floats, predictions: Floats, values: Mapping[str, Sequence[str]], *, policy: Gate
) -> dict[str, Worth]:
    """Return by column and value, largest group first, the number of rows and the metrics that they can tell.

    As at the gate, groups with fewer than `min_slice_rows` rows are not looked at.

    :param values: by column, each row's value.
    """
    prices = task.prices(policy.costs)
    names = metrics_of(task.name, has_costs=prices is not None)
    found: dict[str, Worth] = {}
    for column, of_rows in values.items():
        groups, group_of, counts = np.unique(np.asarray(of_rows), return_inverse=True, return_counts=True)
        largest = [number for number in np.argsort(-counts, kind="stable") if counts[number] >= policy.min_slice_rows]
        found[column] = {}
        for number in largest[:SHOWN]:
            rows = group_of == number
            measured = {name: quality(name, labels[rows], predictions[rows], prices) for name in names}
            known = {name: value for name, value in measured.items() if np.isfinite(value)}
            found[column][str(groups[number])] = {"rows": int(counts[number]), **known}
    return found
