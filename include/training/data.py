"""This file turns rows of the clean table into what a model learns from."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from filelock import FileLock

from include.errors import ConfigError, NotEnoughDataError
from include.learning.kinds import KINDS
from include.learning.scoring import Floats
from include.learning.task import LABEL, Task
from include.recipe import Features, Training
from include.training import stream
from include.training.layout import Layout
from include.training.preprocessing import Preprocessor, fit_preprocessor
from include.training.rows import Span
from include.training.spec import Spec

SAMPLE_ROWS = 200_000  # medians and scales are those of so many rows, chosen by chance, of a larger window


@dataclass(frozen=True)
class Window:
    """Labelled rows in memory: a hold-out, or a sample of what is learned from."""

    table: pa.Table  # key, day, label, features
    days: npt.NDArray[np.str_]
    columns: dict[str, npt.NDArray[Any]]

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.table)

    @property
    def labels(self) -> pa.ChunkedArray:
        """Return the labels as the task keeps them in files."""
        return self.table[LABEL]


def window_of(table: pa.Table, spec: Spec) -> Window:
    """Return rows of the spec's table as columns that a model takes."""
    features = spec.training.features
    days = table[spec.date].to_numpy().astype(str)
    columns = feature_columns(table, features)
    # As the model saw them: numbers in its own precision, missing text as "".
    seen = {name: pa.array(values, from_pandas=True) for name, values in columns.items()}
    kept = pa.table({spec.key: table[spec.key], spec.date: table[spec.date], LABEL: table[LABEL], **seen})
    return Window(kept, days, columns)


def check(span: Span, spec: Spec, name: str) -> pa.ChunkedArray:
    """Return the labels of a window: one number or word a row, the only column of it that is held in memory as a whole.

    :raises NotEnoughDataError: if there are no rows, or rows of one class only.
    """
    labels = span.table([LABEL])[LABEL] if len(span) else pa.chunked_array([], pa.float64())
    if len(pc.unique(labels)) < 2:
        raise NotEnoughDataError(
            f"The {name} of '{spec.pipeline}' has {len(labels)} labelled rows, all with the same label or none at all: "
            f"{KINDS[spec.training.task].needed_labels} are needed to learn and to judge. Ingest days with labels of "
            "more than one kind."
        )
    return labels


@dataclass(frozen=True)
class Seen:
    """What all rows of a window show, found in one pass."""

    categories: dict[str, list[str]]  # the values of each categorical column, in order
    ranges: dict[str, list[float]]  # least and greatest value of each numeric column that has any


def look(span: Span, features: Features) -> Seen:
    """Return a window's categories and ranges.

    :raises ConfigError: if a categorical column is not text.
    """
    categories: dict[str, set[str]] = {name: set() for name in features.categorical}
    ranges: dict[str, list[float]] = {}
    for chunk in span.chunks(features.tabular.names):
        columns = feature_columns(chunk, features.tabular)
        for name in features.categorical:
            categories[name].update(pc.unique(chunk[name].fill_null("")).to_pylist())
        for name in features.numeric:
            known = columns[name][~np.isnan(columns[name])]
            if len(known):
                ends = [float(known.min()), float(known.max()), *ranges.get(name, [])]
                ranges[name] = [min(ends), max(ends)]
    return Seen({name: sorted(values) for name, values in categories.items()}, ranges)


def fit_to(span: Span, spec: Spec, seen: Seen) -> Preprocessor:
    """Return the preprocessing that a window's rows ask for."""
    sample = feature_columns(span.sample(SAMPLE_ROWS, spec.training.seed), spec.training.features)
    return fit_preprocessor(sample, spec.training.features, seen.categories)


def prepare(span: Span, spec: Spec, preprocessor: Preprocessor, task: Task) -> stream.OnDisk:
    """Preprocess a window's rows into a file of the scratch folder, unless it lies there, and open it.

    Several processes may ask at once: one writes, the others wait for it.
    """
    name = f"{span.days[0]}-{span.days[-1]}.arrow"
    path = spec.scratch / name
    with FileLock(spec.scratch / f"{name}.lock"):
        if not path.exists():
            part = path.with_suffix(".part")
            stream.write(part, _parts(span, spec, preprocessor, task), len(span))
            part.replace(path)
    return stream.OnDisk(path)


def _parts(span: Span, spec: Spec, preprocessor: Preprocessor, task: Task) -> Iterator[stream.Part]:
    features = spec.training.features
    for chunk in span.chunks():
        yield preprocessor.transform(feature_columns(chunk, features)), encoded(task, chunk[LABEL])


@dataclass(frozen=True)
class Ready:
    """A window as a network is fed with it, and what was found out on the way."""

    task: Task
    seen: Seen
    preprocessor: Preprocessor
    labels: stream.Labels  # encoded
    blocks: stream.OnDisk

    @property
    def layout(self) -> Layout:
        """Return what the columns of the matrix mean."""
        return self.preprocessor.layout

    def batches(self, training: Training, rank: int = 0, world: int = 1) -> stream.Stream:
        """Return the rows in shuffled batches."""
        size = training.batch_size or stream.fitting_batch(len(self.labels))
        return stream.Stream(self.blocks, size, training.seed, rank, world)

    def seen_by_network(self, window: Window) -> stream.Part:
        """Return other rows as the network sees them."""
        return self.preprocessor.transform(window.columns), encoded(self.task, window.labels)


def make_ready(span: Span, spec: Spec) -> Ready:
    """Find out what a window's rows show, and preprocess them.

    :raises NotEnoughDataError: if there are no rows, or rows of one class only.
    """
    features = spec.training.features
    known = check(span, spec, "training window")
    task = KINDS[spec.training.task].learn(known)
    seen = look(span, features)
    preprocessor = fit_to(span, spec, seen)
    blocks = prepare(span, spec, preprocessor, task)
    return Ready(task, seen, preprocessor, encoded(task, known), blocks)


def encoded(task: Task, labels: pa.ChunkedArray) -> stream.Labels:
    """Return labels as a network is taught them: whole numbers for classes, otherwise float32."""
    found = task.encode(labels)
    return found.astype(np.int64 if task.name == "multiclass" else np.float32)


def as_floats(task: Task, labels: pa.ChunkedArray) -> Floats:
    """Return labels as metrics take them."""
    return task.encode(labels).astype(np.float64)


def feature_columns(table: pa.Table, features: Features) -> dict[str, npt.NDArray[Any]]:
    """Return the feature columns: float32 with NaN for missing, text with "" for missing, pictures as text.

    :raises ConfigError: if a column of categories, texts or pictures is not text, as the endpoint takes it.
    """
    columns: dict[str, npt.NDArray[Any]] = {}
    for name in features.numeric:
        columns[name] = pc.cast(table[name], pa.float64()).to_numpy().astype(np.float32)
    for name in features.as_text:
        kind = table.schema.field(name).type
        if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
            raise ConfigError(
                f"'training.features' names '{name}', which is {kind} in the clean table, not text. "
                f"Derive a text column: `{name}_text: cast({name} as string)`."
            )
        columns[name] = pc.fill_null(table[name], "").to_numpy().astype(object)
    return columns
