"""This file lets a challenger answer copies of requests; the answers that users get know nothing of it."""

import logging
import math
import threading
import time
import uuid
from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from include import atomic
from include.artefact import predict
from include.learning.task import PREDICTION, Task
from include.pipeline import ANSWER_ID, ANSWER_VERSION, ANSWERED_AT
from include.serving.batches import Batches
from include.serving.capture import Capture, Captured
from include.serving.metrics import Metrics
from include.serving.model import Served

log = logging.getLogger(__name__)

MAX_WAITING_ROWS = 256  # which is so many a second: they are answered once in each
ROWS_AT_ONCE = 32
_PAUSE_SECONDS = 0.01  # after so many rows users are answered for so long
CHAMPIONS = "champion_"  # before the name of a column of the champion's answer


@dataclass(slots=True)  # as Captured
class Copy:
    """One answered request, and who is to answer it again."""

    challenger: Served
    asked: Captured


class Shadow:
    """A bounded queue of copies; what it has no room for is dropped, and counted.

    There is little room: users wait for what copies take of the endpoint's own core, and some hundred rows a second
    tell as much of a challenger as all of them. Under pressure, copies make way before captures do.
    """

    def __init__(self, lake: Path, metrics: Metrics, capture: Capture) -> None:
        self._lake = lake
        self._metrics = metrics
        self._capture = capture
        self._batches: Batches[Copy, list[Copy]] = Batches("shadow", self._answer, list, enough=math.inf)
        self._dropped = cache(metrics.shadow_dropped.labels)  # to look it up takes twice as long as to count
        self._is_stopping = threading.Event()

    def start(self) -> None:
        """Start answering."""
        self._batches.start()

    def stop(self) -> None:
        """Answer what is waiting, without a pause, then stop."""
        self._is_stopping.set()
        self._batches.stop()

    def flush(self) -> None:
        """Answer what is waiting."""
        self._batches.flush()

    def put(self, challenger: Served, asked: Captured) -> None:
        """Take a copy in, or count its rows as dropped; a request larger than the room is taken where none waits."""
        num_rows = len(asked.ids)
        most = 0 if self._capture.is_pressed() else max(MAX_WAITING_ROWS, num_rows)
        if not self._batches.put(Copy(challenger, asked), num_rows, most=most):
            self._dropped(asked.pipeline).inc(num_rows)

    def _answer(self, copies: list[Copy]) -> None:
        groups: dict[int, list[Copy]] = defaultdict(list)
        for copy in copies:
            groups[id(copy.challenger)].append(copy)
        for group in groups.values():
            challenger = group[0].challenger
            parts = [found for some in _portions(group) if (found := self._answer_some(challenger, some))]
            if parts:
                self._write(challenger, pa.concat_tables(parts))

    def _answer_some(self, challenger: Served, copies: list[Copy]) -> pa.Table | None:
        self._is_stopping.wait(_PAUSE_SECONDS)
        rows = [copy.asked for copy in copies]
        names = challenger.features.names
        began = time.perf_counter()
        try:
            columns = {name: [value for asked in rows for value in asked.columns[name]] for name in names}
            answers = challenger.task.answers(predict(challenger.session, columns, challenger.features))
        except Exception:  # whatever it is: it is the challenger's fault, and no user's request
            log.exception("%s: version %s cannot answer copies.", challenger.pipeline, challenger.version)
            self._metrics.failures.labels(challenger.pipeline, challenger.version).inc(len(rows))
            return None
        seconds = (time.perf_counter() - began) / len(answers)
        champions = [answer for asked in rows for answer in asked.answers]
        ids = [answer_id for asked in rows for answer_id in asked.ids]
        table = {
            ANSWER_ID: ids,
            ANSWER_VERSION: [challenger.version] * len(ids),
            ANSWERED_AT: [datetime.now(UTC)] * len(ids),
            "seconds": [seconds] * len(ids),
            PREDICTION: [answer[PREDICTION] for answer in answers],
            CHAMPIONS + PREDICTION: [answer[PREDICTION] for answer in champions],
        }
        return pa.table(table, schema=shadow_schema(type(challenger.task)))

    def _write(self, challenger: Served, table: pa.Table) -> None:
        folder = shadow_folder(self._lake, challenger.pipeline, challenger.version)
        try:
            with atomic.replacing(folder / f"{uuid.uuid4().hex}.parquet") as temporary:
                pq.write_table(table, temporary)
        except (OSError, RuntimeError) as error:
            log.error("%s: %s copied answers could not be written: %s", challenger.pipeline, len(table), error)  # noqa: TRY400
            self._dropped(challenger.pipeline).inc(len(table))


def shadow_folder(lake: Path, pipeline_name: str, version: int) -> Path:
    """Return the folder of a version's copied answers, kept as long as the files of runs."""
    return lake / pipeline_name / "runs" / f"shadow-v{version}"


def shadow_schema(task: type[Task]) -> pa.Schema:
    """Return the columns of copied answers: who was asked about is not among them."""
    kind = next(field.type for field in task.fields if field.name == PREDICTION)
    return pa.schema(
        [
            (ANSWER_ID, pa.string()),
            (ANSWER_VERSION, pa.int64()),
            (ANSWERED_AT, pa.timestamp("us", tz="UTC")),
            ("seconds", pa.float64()),  # a row's share of the time that its batch took
            (PREDICTION, kind),
            (CHAMPIONS + PREDICTION, kind),
        ]
    )


def _portions(copies: list[Copy]) -> list[list[Copy]]:
    """Cut a batch so that none of its parts keeps the interpreter for long."""
    portions: list[list[Copy]] = [[]]
    num_rows = 0
    for copy in copies:
        if num_rows >= ROWS_AT_ONCE:
            portions.append([])
            num_rows = 0
        portions[-1].append(copy)
        num_rows += len(copy.asked.ids)
    return portions
