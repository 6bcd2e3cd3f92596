"""This file is what runs in Spark's executors: batches of clean rows in, batches of answers out."""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime
import pyarrow as pa
import pyarrow.compute as pc

from include.artefact import predict, session_of
from include.pipeline import ANSWER_DAY, ANSWER_VERSION
from include.recipe import Features
from include.scoring.scorer import Scorer

PARTITION = "_p"  # a second copy of the day, which Spark takes out of the files to name folders by
UNFOLDED_VALUES = 2**24  # of pictures, that are in memory at once: 64 MB


def answers(batches: Iterable[pa.RecordBatch], scorer: Scorer) -> Iterator[pa.RecordBatch]:
    """Yield the answers to each batch; one is in memory at a time."""
    session = session_of(scorer.content, name=f"version {scorer.version}")
    rows = rows_at_once(scorer.features)
    for batch in batches:
        for first in range(0, batch.num_rows, rows):
            yield answers_to(batch.slice(first, rows), scorer, session)


def rows_at_once(features: Features) -> int:
    """Return how many rows a model is asked about at once: pictures take a thousand times the room once unfolded."""
    return max(1, UNFOLDED_VALUES // max(1, sum(image.size for image in features.image.values())))


def answers_to(rows: pa.RecordBatch, scorer: Scorer, session: onnxruntime.InferenceSession) -> pa.RecordBatch:
    """Return key, day, version and the task's columns; null for a row that the model can compute no answer to.

    The endpoint refuses a request with such a row, or with a picture that is none; here that picture counts as missing.
    """
    predictions = predict(session, columns_of(rows, scorer.features), scorer.features)
    days = rows.column(scorer.date).cast(pa.string())
    found = scorer.task.columns(predictions)
    is_answered = np.isfinite(predictions).reshape(len(predictions), -1).all(axis=1)
    if not is_answered.all():
        places = pa.array(np.arange(len(predictions)), mask=~is_answered)
        found = {name: column.take(places) for name, column in found.items()}
    columns = {
        scorer.key: rows.column(scorer.key),
        ANSWER_DAY: days,
        ANSWER_VERSION: pa.repeat(pa.scalar(scorer.version, pa.int64()), len(rows)),
        **found,
        PARTITION: days,
    }
    return pa.RecordBatch.from_arrays(list(columns.values()), names=list(columns))


def columns_of(rows: pa.RecordBatch, features: Features) -> dict[str, npt.NDArray[Any] | list[Any]]:
    """Return the feature columns as a request would bring them; missing numbers are NaN, missing texts None."""
    columns: dict[str, npt.NDArray[Any] | list[Any]] = {}
    for name in features.numeric:
        numbers = pc.cast(rows.column(name), pa.float64(), safe=False)
        columns[name] = numbers.to_numpy(zero_copy_only=False)
    for name in features.as_text:
        columns[name] = rows.column(name).to_pylist()
    return columns
