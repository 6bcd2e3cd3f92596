"""This file reads a training's rows from the lake once, a day at a time, and keeps them on the local disk."""

import json
import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as dataset
from filelock import FileLock

from include import atomic, lake
from include.learning.kinds import labels_of
from include.learning.task import LABEL
from include.training.spec import Spec

log = logging.getLogger(__name__)

BLOCK_ROWS = 8192
CHUNK_ROWS = 4 * BLOCK_ROWS  # what is worked on at once: enough that a small day costs no more than its rows


@dataclass(frozen=True)
class Rows:
    """Labelled rows of consecutive days, in the order of day and key, in one Arrow file: key, day, features, label.

    Whatever window is asked for, only a chunk of it is in memory at a time.
    """

    path: Path
    days: tuple[str, ...]
    counts: tuple[int, ...]  # rows of each day

    def span(self, first_day: str, last_day: str) -> "Span":
        """Return the rows of a range of days, both included."""
        first, last = (sum(day < until for day in self.days) for until in (first_day, f"{last_day}~"))
        return Span(self, first, last)

    @cached_property
    def starts(self) -> list[int]:
        """Return where each day's rows begin, and at last their number."""
        return [0, *np.cumsum(self.counts, dtype=int).tolist()]


@dataclass(frozen=True)
class Span:
    """Some of the rows: those of the days from one position to before another."""

    rows: Rows
    first: int
    last: int

    def __len__(self) -> int:
        """Return the number of rows."""
        return self.rows.starts[self.last] - self.rows.starts[self.first]

    @property
    def days(self) -> tuple[str, ...]:
        """Return the days there are."""
        return self.rows.days[self.first : self.last]

    def newest(self, num_days: int) -> "Span":
        """Return the rows of the newest days."""
        return Span(self.rows, max(self.first, self.last - num_days), self.last)

    def __or__(self, later: "Span") -> "Span":
        """Return these rows and those of a span right after them."""
        return Span(self.rows, self.first, later.last)

    def chunks(self, columns: list[str] | None = None) -> Iterator[pa.Table]:
        """Yield all rows, in order, about `CHUNK_ROWS` at a time."""
        if not len(self):
            return
        start, stop = self.rows.starts[self.first], self.rows.starts[self.last]
        waiting: list[pa.RecordBatch] = []
        with pa.OSFile(str(self.rows.path)) as file:
            reader, place = pa.ipc.open_file(file), 0
            for number in range(reader.num_record_batches):
                if place >= stop:
                    break
                batch = reader.get_batch(number)
                inside = batch.slice(max(0, start - place), max(0, min(stop, place + len(batch)) - max(start, place)))
                place += len(batch)
                if len(inside) and place > start:
                    waiting.append(inside if columns is None else inside.select(columns))
                if sum(map(len, waiting)) >= CHUNK_ROWS:
                    yield pa.Table.from_batches(waiting)
                    waiting = []
        if waiting:
            yield pa.Table.from_batches(waiting)

    def table(self, columns: list[str] | None = None) -> pa.Table:
        """Return all rows at once: for windows that are known to be small, or for one column."""
        return pa.concat_tables(self.chunks(columns))

    def sample(self, size: int, seed: int) -> pa.Table:
        """Return so many rows chosen by chance, in their order; all, if there are no more."""
        if len(self) <= size:
            return self.table()
        chosen, place, found = np.sort(np.random.default_rng(seed).choice(len(self), size, replace=False)), 0, []
        for chunk in self.chunks():
            inside = chosen[np.searchsorted(chosen, place) : np.searchsorted(chosen, place + len(chunk))]
            found.append(chunk.take(pa.array(inside - place)))
            place += len(chunk)
        return pa.concat_tables(found)


def fetch(spec: Spec) -> Rows:
    """Read the labelled rows of a spec's days from its snapshot into its scratch folder, unless they lie there.

    Several processes may ask at once: one reads, the others wait for it.

    :raises ConfigError: if the target cannot be the task's.
    """
    path = spec.scratch / "rows.arrow"
    about = path.with_suffix(".json")
    spec.scratch.mkdir(parents=True, exist_ok=True)
    with FileLock(spec.scratch / "rows.lock"):
        if not about.exists():
            counts = _read(spec, path)
            atomic.write_text(about, json.dumps({"days": list(counts), "counts": list(counts.values())}))
    told = json.loads(about.read_text())
    return Rows(path, tuple(told["days"]), tuple(told["counts"]))


def _read(spec: Spec, path: Path) -> dict[str, int]:
    counts: dict[str, int] = {}
    writer: pa.RecordBatchFileWriter | None = None
    with atomic.writing(path), pa.OSFile(str(path), "wb") as file:
        for day, table in days_of(spec):
            rows = _labelled(table, spec)
            writer = writer or pa.ipc.new_file(file, rows.schema)
            writer.write_table(rows, max_chunksize=BLOCK_ROWS)
            if len(rows):
                counts[day] = len(rows)
        if writer:
            writer.close()
    log.info("Read %s labelled rows of %s days", sum(counts.values()), len(counts))
    return counts


def days_of(spec: Spec, also: Iterable[str] = ()) -> Iterator[tuple[str, pa.Table]]:
    """Yield each day of a spec's with the columns that a training reads, from its folder or from the lake.

    :param also: other columns.
    """
    wanted = [spec.key, spec.date, spec.training.target, *spec.training.features.names, *also]
    columns = list(dict.fromkeys(wanted))
    if spec.rows:
        return _in_folder(spec.rows, spec, columns)
    return lake.clean_days(spec.pipeline, spec.train_days[0], spec.holdout_days[1], columns, spec.snapshot_id)


def _in_folder(folder: Path, spec: Spec, columns: list[str]) -> Iterator[tuple[str, pa.Table]]:
    """Yield each day of the spec's from a folder of Parquet files, which a platform has brought here."""
    files = dataset.dataset(folder, format="parquet")
    day_of = pc.field(spec.date).cast(pa.string())
    days = pc.unique(pc.cast(files.to_table(columns=[spec.date])[spec.date], pa.string())).to_pylist()
    for day in sorted(days):
        if spec.train_days[0] <= day <= spec.holdout_days[1]:
            yield day, files.to_table(columns=columns, filter=day_of == day).sort_by(spec.key)


def _labelled(table: pa.Table, spec: Spec) -> pa.Table:
    labels = labels_of(table, spec.training.task, spec.training.target)
    columns = {name: table[name] for name in (spec.key, *spec.training.features.names)}
    rows = pa.table({**columns, spec.date: pc.cast(table[spec.date], pa.string()), LABEL: labels})
    return rows.filter(pc.is_valid(rows[LABEL]))
