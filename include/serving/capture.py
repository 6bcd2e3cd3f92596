"""This file keeps what the endpoint was asked and what it answered, without ever making an answer wait.

What is waiting when a process is killed is lost: what came within the last second, or the last 5,000 rows.
"""

import itertools
import logging
import time
import uuid
from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from include import atomic
from include.learning.task import Task
from include.pipeline import ANSWER_DAY, ANSWER_ID, ANSWER_VERSION, ANSWERED_AT
from include.recipe import Features
from include.serving.batches import Batches
from include.serving.metrics import Metrics

log = logging.getLogger(__name__)

FLUSH_ROWS = 5_000
MAX_WAITING_ROWS = 200_000
_FEW = 32  # rows of a request that are sorted in at once
_MANY, _PAUSE_SECONDS = 500, 0.01  # after a column of so many rows others are answered for so long
_FAST = 2  # times as many rows as wake the writer: with so many it is behind


@dataclass(slots=True)  # frozen would take four times as long to make, and one is made for each request
class Captured:
    """One answered request."""

    pipeline: str
    version: int
    key: str  # name of the key column
    features: Features
    task: Task
    at: datetime
    ids: list[str]
    keys: list[str | int]
    days: list[str | None]
    columns: dict[str, list[Any]]
    answers: list[dict[str, Any]]


def capture_schema(key: str, features: Features, task: Task) -> pa.Schema:
    """Return the columns of captured predictions, the same for every file of one task and set of features."""
    return pa.schema(
        [
            (ANSWER_ID, pa.string()),
            (key, pa.string()),
            (ANSWER_DAY, pa.string()),
            (ANSWER_VERSION, pa.int64()),
            (ANSWERED_AT, pa.timestamp("us", tz="UTC")),
            *task.fields,
            *((name, pa.float64()) for name in features.numeric),
            *((name, pa.string()) for name in features.as_text),
        ]
    )


@dataclass(frozen=True)
class _Part:
    pipeline: str
    day: str
    rows: pa.Table


class Columns:
    """Rows that wait, already by column.

    A small request puts its own there at once, in some microseconds. Left to the thread that writes, the same work for
    thousands of requests holds the interpreter for milliseconds at a time, and every hundredth request waits for it.
    """

    def __init__(self) -> None:
        self._groups: dict[tuple[str, str, int], dict[str, list[Any]]] = {}
        self._schemas: dict[tuple[str, int], pa.Schema] = {}
        self._large: list[Captured] = []
        self._num_rows = 0

    def append(self, request: Captured) -> None:
        """Take a request's rows in; those of a large one later."""
        self._num_rows += len(request.ids)
        if len(request.ids) > _FEW:
            self._large.append(request)
        else:
            self._sort_in(request)

    def parts(self) -> list[_Part]:
        """Return the rows as tables, made a column at a time: while one is made, requests stand still.

        Where so many wait that they come faster than they are written, there is no pause: it would cost rows.
        """
        for request in self._large:
            self._sort_in(request)
        tables: dict[tuple[str, str, pa.Schema], list[pa.Table]] = defaultdict(list)
        for (pipeline, day, version), rows in self._groups.items():
            schema, arrays = self._schemas[pipeline, version], []
            for field in schema:
                arrays.append(pa.array(rows[field.name], field.type))
                if len(arrays[-1]) >= _MANY and self._num_rows <= _FAST * FLUSH_ROWS:
                    time.sleep(_PAUSE_SECONDS)
            tables[pipeline, day, schema].append(pa.Table.from_arrays(arrays, schema=schema))
        return [_Part(pipeline, day, pa.concat_tables(parts)) for (pipeline, day, _), parts in tables.items()]

    def _sort_in(self, request: Captured) -> None:
        today = request.at.date().isoformat()
        for number, day in enumerate(request.days):
            rows = self._group(request, day or today)
            rows[ANSWER_ID].append(request.ids[number])
            rows[request.key].append(str(request.keys[number]))
            rows[ANSWER_DAY].append(day or today)
            rows[ANSWER_VERSION].append(request.version)
            rows[ANSWERED_AT].append(request.at)
            for name, value in request.answers[number].items():
                rows[name].append(value)
            for name, values in request.columns.items():
                rows[name].append(values[number])

    def _group(self, request: Captured, day: str) -> dict[str, list[Any]]:
        group = (request.pipeline, day, request.version)
        if group not in self._groups:
            schema = capture_schema(request.key, request.features, request.task)
            self._schemas[request.pipeline, request.version] = schema
            self._groups[group] = {name: [] for name in schema.names}
        return self._groups[group]


class Capture:
    """Keeps answered requests in the lake; while its disk takes no files, as many rows as may wait, and says so."""

    def __init__(self, lake: Path, metrics: Metrics) -> None:
        self._lake = lake
        self._metrics = metrics
        self._batches: Batches[Captured, Columns] = Batches("capture", self._write, Columns, enough=FLUSH_ROWS)
        self._unwritten: list[_Part] = []
        self.problem = ""  # why captures cannot be written now

    def start(self) -> None:
        """Start writing."""
        self._batches.start()

    def stop(self) -> None:
        """Write what is waiting, then stop."""
        self._batches.stop()
        self._lose(self._unwritten)

    def flush(self) -> None:
        """Write what is waiting."""
        self._batches.flush()

    def put(self, captured: Captured) -> None:
        """Take a request in, or count it as dropped when too many rows wait."""
        num_rows = len(captured.ids)
        if not self._batches.put(captured, num_rows, most=MAX_WAITING_ROWS - self._num_unwritten()):
            self._metrics.dropped.labels(captured.pipeline, "queue_full").inc(num_rows)

    def is_pressed(self) -> bool:
        """Return whether so many rows wait that what is less important should make way."""
        return self._batches.num_rows + self._num_unwritten() > MAX_WAITING_ROWS / 4

    def _write(self, batch: Columns) -> None:
        """Write one file per pipeline, day and set of columns; what cannot be written waits for the next time."""
        failed, problem = [], ""
        for part in self._unwritten + batch.parts():
            try:
                _write(self._lake / part.pipeline / "predictions" / f"day={part.day}", part.rows)
            except (OSError, RuntimeError, pa.ArrowException) as error:
                failed.append(part)
                problem = f"{type(error).__name__}: {error}"
            else:
                self._metrics.captured.labels(part.pipeline).inc(len(part.rows))
        self._keep(failed)
        if problem and not self.problem:
            log.error("Captures cannot be written, answers go on; rows wait for the disk. %s", problem)
        if self.problem and not problem:
            log.info("Captures are written again.")
        self.problem = problem
        self._metrics.capture_failing.set(bool(problem))

    def _keep(self, failed: list[_Part]) -> None:
        """Keep the oldest parts, half as many rows as may wait."""
        num_rows = itertools.accumulate(len(part.rows) for part in failed)
        fitting = [number for number, total in enumerate(num_rows, 1) if total <= MAX_WAITING_ROWS / 2]
        self._unwritten, lost = failed[: len(fitting)], failed[len(fitting) :]
        self._lose(lost)

    def _lose(self, parts: list[_Part]) -> None:
        for part in parts:
            self._metrics.dropped.labels(part.pipeline, "write_failed").inc(len(part.rows))

    def _num_unwritten(self) -> int:
        return sum(len(part.rows) for part in self._unwritten)


def _write(folder: Path, table: pa.Table) -> None:
    name = f"{datetime.now(UTC):%Y%m%dT%H%M%S%f}-{uuid.uuid4().hex[:12]}.parquet"
    with atomic.replacing(folder / name) as temporary:
        pq.write_table(table, temporary)
