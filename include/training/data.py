"""This file turns a window of the clean table into what a model learns from."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from include import lake
from include.errors import ConfigError, NotEnoughDataError
from include.learning.kinds import KINDS, labels_of
from include.learning.task import LABEL
from include.pipeline import Features
from include.training.spec import Spec


@dataclass(frozen=True)
class Window:
    """Labelled rows in the order of day and key: the order of files and partitions changes nothing."""

    keys: pa.Array
    days: npt.NDArray[np.str_]
    labels: pa.ChunkedArray  # as the task keeps them in files
    columns: dict[str, npt.NDArray[Any]]

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.labels)

    def as_table(self, spec: Spec, rows: npt.NDArray[np.intp] | None = None) -> pa.Table:
        """Return the rows (or those named) as Arrow: key, day, label, features."""
        columns = {
            spec.key: self.keys,
            spec.date: pa.array(self.days.astype(object)),
            LABEL: self.labels,
            **{name: pa.array(values, from_pandas=True) for name, values in self.columns.items()},
        }
        table = pa.table(columns)
        return table if rows is None else table.take(pa.array(rows))


def newest(window: Window, holdout: Window, num_days: int) -> Window:
    """Return the rows of the newest days of two windows that follow each other."""
    days = np.concatenate([window.days, holdout.days])
    names = np.unique(days)
    rows = np.flatnonzero(days >= names[max(0, len(names) - num_days)])
    labels = pa.concat_tables([pa.table({LABEL: part.labels}) for part in (window, holdout)])[LABEL]
    columns = {name: np.concatenate([values, holdout.columns[name]])[rows] for name, values in window.columns.items()}
    return Window(pa.concat_arrays([window.keys, holdout.keys]).take(rows), days[rows], labels.take(rows), columns)


def load_windows(spec: Spec) -> tuple[Window, Window]:
    """Read the training and the hold-out window of a spec, in one scan of its snapshot."""
    columns = [spec.key, spec.date, spec.training.target, *spec.training.features.names]
    table = lake.read_clean(spec.pipeline, spec.train_days[0], spec.holdout_days[1], columns, spec.snapshot_id)
    return split(table, spec)


def split(table: pa.Table, spec: Spec) -> tuple[Window, Window]:
    """Return (training, hold-out): rows with a label, sorted, cut at the first held-out day.

    :raises ConfigError: if the target cannot be the task's.
    :raises NotEnoughDataError: if one of the two has no rows, or rows of one class only.
    """
    labels = labels_of(table, spec.training.task, spec.training.target)
    table = table.select([spec.key, spec.date, *spec.training.features.names]).append_column(LABEL, labels)
    table = table.set_column(table.column_names.index(spec.date), spec.date, pc.cast(table[spec.date], pa.string()))
    table = table.filter(pc.is_valid(table[LABEL])).sort_by([(spec.date, "ascending"), (spec.key, "ascending")])
    is_train = pc.less_equal(table[spec.date], spec.train_days[1])
    is_holdout = pc.greater_equal(table[spec.date], spec.holdout_days[0])
    return (
        _window(table.filter(is_train), spec, f"training window {spec.train_days[0]} to {spec.train_days[1]}"),
        _window(table.filter(is_holdout), spec, f"hold-out {spec.holdout_days[0]} to {spec.holdout_days[1]}"),
    )


def feature_columns(table: pa.Table, features: Features) -> dict[str, npt.NDArray[Any]]:
    """Return the feature columns as the model sees them: float32 with NaN for missing, text with "" for missing.

    :raises ConfigError: if a categorical column is not text: the endpoint takes text only, so it would see nothing.
    """
    columns: dict[str, npt.NDArray[Any]] = {}
    for name in features.numeric:
        columns[name] = pc.cast(table[name], pa.float64()).to_numpy().astype(np.float32)
    for name in features.categorical:
        kind = table.schema.field(name).type
        if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
            raise ConfigError(
                f"'training.features.categorical' names '{name}', which is {kind} in the clean table, not text. "
                f"Derive a text column: `{name}_text: cast({name} as string)`."
            )
        columns[name] = pc.fill_null(table[name], "").to_numpy().astype(object)
    return columns


def _window(table: pa.Table, spec: Spec, name: str) -> Window:
    labels = table[LABEL]
    if len(pc.unique(labels)) < 2:
        raise NotEnoughDataError(
            f"The {name} of '{spec.pipeline}' has {len(labels)} labelled rows, all with the same label or none at all: "
            f"{KINDS[spec.training.task].needed_labels} are needed to learn and to judge. Ingest days with labels of "
            "more than one kind."
        )
    return Window(
        keys=table[spec.key].combine_chunks(),
        days=table[spec.date].to_numpy().astype(str),
        labels=labels,
        columns=feature_columns(table, spec.training.features),
    )
