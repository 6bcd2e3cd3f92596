"""This file lives through nights and trainings of a pipeline, one after another, while somebody kills."""

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx

from include.demo.airflow_api import Airflow, patiently, wait_until
from include.errors import StackError
from include.ledger import nights, open_ledger, releases, requests
from include.partition import days_between
from soak.killing import ENDED, MODEL, NIGHT, Kill, Killer

SETTLE_SECONDS = 400
SWEEP_AFTER_SECONDS = 30
NEW_DAYS = 2  # before each training: the gate compares on days that the champion has not seen, and one is not enough


@dataclass(frozen=True)
class Story:
    """A pipeline and its days.

    :param first: first day of the history that the first model learns from.
    :param last: its last day; the nights follow.
    :param deliver: puts days into the landing zone of a data folder.
    :param rows_of: says how many rows each of these days must hold in the end.
    """

    pipeline: str
    first: date
    last: date
    deliver: Callable[[Path, list[str]], None]
    rows_of: Callable[[list[str]], dict[str, int]]


class Trial:
    """Lives through the story while somebody kills."""

    def __init__(self, data: Path, airflow: Airflow, story: Story) -> None:
        self._airflow = airflow
        self._data = data
        self._story = story
        self._rows: dict[str, int] = {}
        self.expected_rows: dict[str, int] = {}
        self.nights = 0
        self.trainings = 0

    def undisturbed(self, num_nights: int) -> dict[tuple[str, str], float]:
        """Live once through everything, and return how long each task takes when it is left alone.

        :param num_nights: how many nights there may be in all.
        """
        story, since = self._story, _now()
        days = days_between(story.first, story.last + timedelta(days=num_nights))
        story.deliver(self._data, days)
        self._rows = story.rows_of(days)
        self._ingest(story.first.isoformat(), story.last.isoformat())
        self.trainings = 1
        self._settle(since)
        with open_ledger() as session:
            if releases.champion_of(session, story.pipeline) is None:
                raise StackError("The first model did not pass the gate: nothing would be deployed in these trials.")
        self._begin_nights(1)
        self._settle(since)
        return {
            (stage, task["task_id"]): float(task["duration"])
            for stage in (*NIGHT, *MODEL)
            for task in self._airflow.tasks_since(f"{story.pipeline}__{stage}", since)
            if task["duration"]
        }

    def live_through(self, kills: list[Kill], killer: Killer) -> list[dict[str, Any]]:
        """Start a night or a training, kill as planned, wait until all is quiet, and say how each kill ended."""
        since = _now()
        if kills[0].stage in NIGHT:
            self._begin_nights(1)
        else:
            self._begin_nights(NEW_DAYS)
            self._settle(since)
            since = _now()
            self._begin_training()
        hits = [killer.strike(kill, since) for kill in kills]
        struck = time.monotonic()
        self._settle(since)
        seconds = round(time.monotonic() - struck, 1)
        return [{**vars(kill), "hit": hit, "quiet_after": seconds} for kill, hit in zip(kills, hits, strict=True)]

    def _begin_nights(self, number: int) -> None:
        first, last = (self._story.last + timedelta(days=self.nights + each) for each in (1, number))
        self.nights += number
        self._ingest(first.isoformat(), last.isoformat())

    def _ingest(self, first: str, last: str) -> None:
        self.expected_rows |= {day: rows for day, rows in self._rows.items() if first <= day <= last}
        self._start("ingest", f"{first}-to-{last}", first=first, last=last)

    def _begin_training(self) -> None:
        self.trainings += 1
        self._start("train", f"training-{self.trainings}", reason="soak", window_days=20, epochs=1)

    @patiently
    def _start(self, stage: str, run_id: str, **conf: Any) -> None:
        """Start a run once, however often Airflow has to be asked: a killed scheduler may hold its database."""
        try:
            self._airflow.trigger(f"{self._story.pipeline}__{stage}", run_id, **conf)
        except httpx.HTTPStatusError as error:
            if error.response.status_code != httpx.codes.CONFLICT:
                raise

    def _settle(self, since: str) -> None:
        """Wait until every run has ended and the ledger holds nothing unfinished; let `sweep` help, as it does."""
        swept = time.monotonic()

        def is_quiet() -> bool:
            nonlocal swept
            is_late = time.monotonic() - swept > SWEEP_AFTER_SECONDS
            # Airflow is asked little: its answers cost the processor that its tasks need.
            if not is_late and (
                self._unfinished() or self._airflow.runs(state=["queued", "running"], run_after_gte=since)
            ):
                return False
            running_now = [
                task
                for stage in (*NIGHT, *MODEL)
                for task in self._airflow.tasks_since(f"{self._story.pipeline}__{stage}", since)
                if task["state"] not in ENDED
            ]
            if not running_now and not self._unfinished():
                return True
            if not running_now and is_late:
                with suppress(httpx.HTTPError):  # asked again soon
                    self._airflow.trigger("sweep", patience_seconds=5)
                    swept = time.monotonic()
            return False

        wait_until(is_quiet, SETTLE_SECONDS, lambda: f"not quiet: {self._unfinished()}")

    def _unfinished(self) -> list[str]:
        name = self._story.pipeline
        with open_ledger() as session:
            waiting = nights.waiting_publications(session, name, older_than_seconds=0)
            moving = releases.releases_of(session, name, "candidate", "approved", "promoting")
            return [row.id for row in (*waiting, *requests.unfinished_requests(session, name), *moving)]


def _now() -> str:
    return datetime.now(UTC).isoformat()
