"""This file keeps what the endpoint was asked and what it answered, without ever making an answer wait."""

import logging
import threading
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
from include.serving.metrics import Metrics

log = logging.getLogger(__name__)

FLUSH_SECONDS = 1.0
FLUSH_ROWS = 5_000
MAX_WAITING_ROWS = 200_000
_AT_ONCE, _PAUSE_SECONDS = 50, 0.001  # while lists are looked through, requests stand still: not for long


@dataclass(frozen=True)
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


class Capture:
    """A bounded queue and the thread that writes it away in batches."""

    def __init__(self, lake: Path, metrics: Metrics) -> None:
        self._lake = lake
        self._metrics = metrics
        self._waiting: list[Captured] = []
        self._num_rows = 0
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._is_stopping = False
        self._thread = threading.Thread(target=self._write_forever, name="capture", daemon=True)

    def start(self) -> None:
        """Start writing."""
        self._thread.start()

    def stop(self) -> None:
        """Write what is waiting, then stop."""
        self._is_stopping = True
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(timeout=30)
        self.flush()

    def put(self, captured: Captured) -> None:
        """Take a request in, or count it as dropped when too many rows wait."""
        num_rows = len(captured.ids)
        with self._lock:
            fits = self._num_rows + num_rows <= MAX_WAITING_ROWS
            if fits:
                self._waiting.append(captured)
                self._num_rows += num_rows
            is_enough = self._num_rows >= FLUSH_ROWS
        if not fits:
            self._metrics.dropped.labels(captured.pipeline, "queue_full").inc(num_rows)
        if is_enough:
            self._wake.set()

    def flush(self) -> None:
        """Write what is waiting, one file per pipeline, day and set of columns."""
        with self._lock:
            batch, self._waiting, self._num_rows = self._waiting, [], 0
        for (pipeline, day, schema), rows in _group(batch).items():
            try:
                _write(self._lake / pipeline / "predictions" / f"day={day}", pa.table(rows, schema=schema))
            except (OSError, pa.ArrowException):
                log.exception("%s: %s captured rows of %s could not be written.", pipeline, len(rows[ANSWER_ID]), day)
                self._metrics.dropped.labels(pipeline, "write_failed").inc(len(rows[ANSWER_ID]))
            else:
                self._metrics.captured.labels(pipeline).inc(len(rows[ANSWER_ID]))

    def _write_forever(self) -> None:
        while not self._is_stopping:
            self._wake.wait(FLUSH_SECONDS)
            self._wake.clear()
            try:
                self.flush()
            except Exception:  # the thread must outlive any surprise
                log.exception("Writing captured predictions failed.")


def _group(batch: list[Captured]) -> dict[tuple[str, str, pa.Schema], dict[str, list[Any]]]:
    groups: dict[tuple[str, str, pa.Schema], dict[str, list[Any]]] = defaultdict(lambda: defaultdict(list))
    known: dict[tuple[str, int, str], dict[str, list[Any]]] = {}  # a schema takes longer to make than a row to append
    for turn, request in enumerate(batch, 1):
        if turn % _AT_ONCE == 0:
            time.sleep(_PAUSE_SECONDS)
        today = request.at.date().isoformat()
        for number, day in enumerate(request.days):
            mark = (request.pipeline, request.version, day or today)
            rows = known.get(mark)
            if rows is None:
                schema = capture_schema(request.key, request.features, request.task)
                rows = known[mark] = groups[request.pipeline, day or today, schema]
            rows[ANSWER_ID].append(request.ids[number])
            rows[request.key].append(str(request.keys[number]))
            rows[ANSWER_DAY].append(day or today)
            rows[ANSWER_VERSION].append(request.version)
            rows[ANSWERED_AT].append(request.at)
            for name, value in request.answers[number].items():
                rows[name].append(value)
            for name, values in request.columns.items():
                rows[name].append(values[number])
    return groups


def _write(folder: Path, table: pa.Table) -> None:
    name = f"{datetime.now(UTC):%Y%m%dT%H%M%S%f}-{uuid.uuid4().hex[:12]}.parquet"
    with atomic.replacing(folder / name) as temporary:
        pq.write_table(table, temporary)
