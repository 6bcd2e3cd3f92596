"""This file measures how far single days of a training window lie from the whole of it: ordinary days are not drift."""

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from scipy.spatial.distance import jensenshannon
from scipy.stats import wasserstein_distance

from include import artefact, atomic, lake
from include.features import summaries
from include.learning.kinds import labels_of, task_of
from include.learning.task import LABEL, PREDICTION
from include.pipeline import Pipeline
from include.recipe import Features

Distance = Callable[[pa.ChunkedArray, pa.ChunkedArray], float | None]


def noise_of(pipeline: Pipeline, model_uri: str, reference: pa.Table, cache: Path) -> dict[str, float]:
    """Return, by column, the distance of the furthest single day of a model's training window from its reference.

    Columns are the features, the prediction and, where the reference holds it, the label.

    Distances are Evidently's: normed Wasserstein for numbers, Jensen-Shannon for categories. Computed once per model
    and kept in the cache folder.
    """
    manifest = artefact.read_manifest(model_uri)
    path = cache / f"noise-{manifest['sha256'][:12]}.json"
    has_labels = LABEL in reference.column_names
    if path.exists():
        known: dict[str, float] = json.loads(path.read_text())
        if LABEL in known or not has_labels:
            return known
    features = artefact.features_of(manifest)
    columns = [pipeline.date, *features.names, *([manifest["target"]] if has_labels else [])]
    first, last = manifest["train_days"]
    window = lake.read_clean(pipeline.name, first, last, columns, manifest["snapshot_id"])
    if has_labels:
        window = window.append_column(LABEL, labels_of(window, task_of(manifest).name, manifest["target"]))
    model = artefact.load_session(model_uri, manifest["sha256"])
    predictions = artefact.predict(model, {name: window[name].to_pylist() for name in features.names}, features)
    window = window.append_column(PREDICTION, task_of(manifest).columns(predictions)[PREDICTION])
    noise = furthest_days(window, reference, pipeline.date, features)
    atomic.write_text(path, json.dumps(noise, indent=1))
    return noise


def furthest_days(window: pa.Table, reference: pa.Table, date: str, features: Features) -> dict[str, float]:
    """Return, by column, the largest distance of a single day from the reference; 0 if no day can be compared."""
    window, reference = (summarised(table, features) for table in (window, reference))
    days = window[date].cast(pa.string())
    parts = [window.filter(pc.equal(days, day)) for day in pc.unique(days).to_pylist()]
    numeric, categorical = columns_of(reference, features)
    kinds: dict[str, Distance] = {
        **dict.fromkeys(numeric, number_distance),
        **dict.fromkeys(categorical, category_distance),
    }
    if LABEL in window.column_names and LABEL in reference.column_names:
        kinds[LABEL] = distance_of(reference[LABEL].type)
    distances = {name: [distance(part[name], reference[name]) for part in parts] for name, distance in kinds.items()}
    return {name: max((found for found in days if found is not None), default=0.0) for name, days in distances.items()}


def columns_of(reference: pa.Table, features: Features) -> tuple[list[str], list[str]]:
    """Return the names of (numeric, categorical) columns to compare, the prediction among those of its type."""
    numbers = [*features.numeric, *features.text, *features.image]
    is_number = PREDICTION not in reference.column_names or pa.types.is_floating(reference[PREDICTION].type)
    if is_number:
        return [*numbers, PREDICTION], [*features.categorical]
    return numbers, [*features.categorical, PREDICTION]


def summarised(table: pa.Table, features: Features) -> pa.Table:
    """Return a table with a number in place of each text, its count of words, and of each picture, its mean value."""
    names = [name for name in (*features.text, *features.image) if name in table.column_names]
    there = Features(text=_only(features.text, names), image=_only(features.image, names))
    for name, values in summaries({name: table[name].to_pylist() for name in names}, there).items():
        table = table.set_column(table.column_names.index(name), name, pa.array(values, pa.float64()))
    return table


def distance_of(kind: pa.DataType) -> Distance:
    """Return the distance for columns of a type."""
    return number_distance if pa.types.is_floating(kind) else category_distance


def number_distance(current: pa.ChunkedArray, reference: pa.ChunkedArray) -> float | None:
    """Return the Wasserstein distance in standard deviations of the reference; None if a side has no values."""
    now, then = (_numbers(column) for column in (current, reference))
    if not len(now) or not len(then):
        return None
    return float(wasserstein_distance(then, now) / max(float(np.std(then)), 0.001))


def category_distance(current: pa.ChunkedArray, reference: pa.ChunkedArray) -> float | None:
    """Return the Jensen-Shannon distance of the shares; None if a side has no values, or one value on this day."""
    now, then = (Counter(column.drop_null().to_pylist()) for column in (current, reference))
    if len(now) < 2 or not then:
        return None  # a weekday is the same all day long: that is not far from anything
    names = sorted({*now, *then})
    shares = [np.array([counts[name] for name in names]) / counts.total() for counts in (then, now)]
    return float(jensenshannon(*shares))


def _only(columns: dict[str, Any], names: list[str]) -> dict[str, Any]:
    return {name: column for name, column in columns.items() if name in names}


def _numbers(column: pa.ChunkedArray) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    values = column.cast(pa.float64()).drop_null().to_numpy()
    return values[np.isfinite(values)]
