"""This file holds the year that is replayed, and the models that were trained from it, each once."""

import hashlib
import json
import logging
import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from include import lake
from include.errors import NotEnoughDataError
from include.learning.kinds import KINDS, labels_of
from include.learning.scoring import Floats
from include.learning.task import LABEL, Task
from include.pipeline import Pipeline
from include.repairs.scout import scout
from include.training.data import feature_columns

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class History:
    """The labelled rows of a pipeline, in the order of days; `shuffled` days are free of any drift."""

    pipeline: Pipeline
    names: tuple[str, ...]  # the days as they are told: ISO dates in order
    starts: npt.NDArray[np.intp]  # where each day's rows begin; one more than there are days
    labels: Floats
    columns: dict[str, npt.NDArray[Any]]
    task: Task
    source: str  # of what the cache is keyed by

    @cached_property
    def index(self) -> dict[str, int]:
        """Return each day's position."""
        return {day: place for place, day in enumerate(self.names)}

    def served(self, first: str, last: str) -> list[str]:
        """Return those days of a range that there are, both ends included."""
        return [day for day in self.names if first <= day <= last]

    def rows(self, first: int, last: int) -> slice:
        """Return where the rows of a range of positions lie, both included."""
        return slice(int(self.starts[max(first, 0)]), int(self.starts[last + 1]))

    @cached_property
    def days(self) -> npt.NDArray[np.str_]:
        """Return the day of each row."""
        return np.repeat(np.array(self.names), np.diff(self.starts))


def load_history(pipeline: Pipeline, first: str, last: str, *, shuffle_seed: int | None = None) -> History:
    """Read the clean table's labelled rows of a range of days, and what lies before it to learn from.

    :param shuffle_seed: deal the days out anew: what each holds stays together, and no drift is left.
    :raises NotEnoughDataError: if days are missing, naming how to get them.
    """
    training = pipeline.training
    features = training.features
    wanted = dict.fromkeys([pipeline.key, pipeline.date, training.target, *features.names])
    table = lake.read_clean(pipeline.name, "0001-01-01", last, list(wanted))
    labels = labels_of(table, training.task, training.target)
    table = table.append_column(LABEL, labels).filter(pc.is_valid(labels))
    days = pc.cast(table[pipeline.date], pa.string()).to_numpy(zero_copy_only=False).astype(str)
    names, counts = np.unique(days, return_counts=True)
    before, needed = int((names < first).sum()), training.holdout_days + 7
    if before < needed or before == len(names):
        lacks = (
            f"a replay from {first} needs {needed} labelled days or more before it to learn from, found {before}"
            if before < needed
            else f"none of them lies in {first} to {last}, and a replay needs one or more"
        )
        raise NotEnoughDataError(
            f"'{pipeline.name}' holds {_held(pipeline)}: {lacks}. "
            f"Replay other days, or ingest these first, by `{pipeline.name}__ingest`."
        )
    starts = np.concatenate([[0], np.cumsum(counts)])
    if shuffle_seed is not None:
        order = np.random.default_rng(shuffle_seed).permutation(len(names))
        rows = np.concatenate([np.arange(starts[place], starts[place + 1]) for place in order])
        table, starts = table.take(pa.array(rows)), np.concatenate([[0], np.cumsum(counts[order])])
    task = KINDS[training.task].learn(table[LABEL])
    encoded, columns = task.encode(table[LABEL]).astype(np.float64), feature_columns(table, features)
    told = hashlib.sha256(json.dumps(training.model_dump(mode="json"), sort_keys=True).encode())
    for values in (starts, encoded, *(columns[name] for name in features.numeric)):
        told.update(np.ascontiguousarray(values).tobytes())
    for name in features.as_text:
        told.update("\0".join(map(str, columns[name])).encode())
    return History(
        pipeline=pipeline,
        names=tuple(map(str, names)),
        starts=starts.astype(np.intp),
        labels=encoded,
        columns=columns,
        task=task,
        source=told.hexdigest()[:12],
    )


def _held(pipeline: Pipeline) -> str:
    # Not what was read for the replay: that ends where the replay does.
    target = pipeline.training.target
    table = lake.read_clean(pipeline.name, "0001-01-01", "9999-12-31", [pipeline.date, target])
    days = pc.min_max(table.filter(pc.is_valid(labels_of(table, pipeline.training.task, target)))[pipeline.date])
    return f"labelled days from {days['min']} to {days['max']}" if days["min"].is_valid else "no labelled day"


class Models:
    """Trains what is asked for, by the training's own functions, and keeps the answers: policies share them.

    :param folder: where answers are kept from one replay to the next; with them, the seconds that they took.
    """

    def __init__(self, history: History, folder: Path) -> None:
        self.history = history
        self._folder = folder / history.source
        self._folder.mkdir(parents=True, exist_ok=True)
        self._known: dict[tuple[str, int, int], tuple[Floats, float]] = {}

    def network(self, first: int, last: int) -> tuple[Floats, float]:
        """Return a network's answers to all rows after a training on some days, and the seconds that it took."""
        return self._answers("network", first, last)

    def scout(self, first: int, last: int) -> tuple[Floats, float]:
        """Return the quick learner's."""
        return self._answers("scout", first, last)

    def _answers(self, kind: str, first: int, last: int) -> tuple[Floats, float]:
        key = (kind, first, last)
        if key not in self._known:
            path = self._folder / f"{kind}-{first:03}-{last:03}.npz"
            if not path.exists():
                began = time.process_time()
                answers = _MAKERS[kind](self.history, first, last)
                with path.with_suffix(".part").open("wb") as file:
                    np.savez(file, answers=answers.astype(np.float32), seconds=time.process_time() - began)
                path.with_suffix(".part").replace(path)
            with np.load(path) as kept:
                self._known[key] = (kept["answers"], float(kept["seconds"]))
        return self._known[key]


def _train(history: History, first: int, last: int) -> Floats:
    # Imported here: it takes seconds, and a replay from kept answers needs none of it.
    from include.training.in_memory import learn  # noqa: PLC0415

    rows = history.rows(first, last)
    columns = {name: values[rows] for name, values in history.columns.items()}
    model = learn(history.pipeline.training, history.task, columns, history.labels[rows])
    return _from(history, first, model.predict)


def _scout(history: History, first: int, last: int) -> Floats:
    rows = history.rows(first, last)
    columns = {name: values[rows] for name, values in history.columns.items()}
    most = history.pipeline.governor.repairs.scout_rows
    # It is asked about the days right after, and never again.
    until = min(last + 2 * history.pipeline.governor.repairs.window_days, len(history.names) - 1)
    asked = {name: values[history.rows(last + 1, until)] for name, values in history.columns.items()}
    found = scout(history.task, (columns, history.labels[rows]), asked, history.pipeline.training.features, most)
    whole = np.full((len(history.labels), *found.shape[1:]), np.nan, dtype=np.float32)
    whole[history.rows(last + 1, until)] = found
    return whole


def _from(history: History, first: int, answer: Any) -> Floats:
    after = history.rows(first, len(history.names) - 1)
    found = answer({name: values[after] for name, values in history.columns.items()})
    whole = np.full((len(history.labels), *found.shape[1:]), np.nan, dtype=np.float32)
    whole[after] = found
    return whole


_MAKERS: dict[str, Any] = {"network": _train, "scout": _scout}
