"""This file says which days are not in: those whose ingest failed, and the nights that are awaited."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Literal

from sqlalchemy.orm import Session

from include.alerting import due_days
from include.ledger import Alert, Partition, alerts, nights, open_ledger
from include.partition import days_between, is_day, run_key_of
from include.pipeline import Pipeline

KIND = "not_in"
REMEMBERED = timedelta(days=7)  # what nobody mends is old news, such as a range by hand with a slip in it
LONGEST_ERROR, MOST_NAMED = 300, 3


@dataclass(frozen=True)
class MissingDays:
    """Days that are not in."""

    state: Literal["failed", "awaited"]
    days: str
    why: str
    remedy: str


def note_failure(  # noqa: PLR0913  which task of which run of which pipeline, for which days, why and how it is told
    pipeline_name: str, run_id: str, task_id: str, days: tuple[str, str], error: str, text: str
) -> str | None:
    """Keep that an ingest failed, and return the alert's id; the same run's next failure replaces it.

    A refused day has a row that says so, and a range that cannot be one lacks no day: of these nothing is kept.

    :param days: first and last.
    :param text: what people are told.
    """
    first, last = days
    if task_id == "refuse" or not (is_day(first) and is_day(last) and first <= last):
        return None
    detail = {"first": first, "last": last, "task": task_id, "run": run_id, "error": in_short(error)}
    with open_ledger() as session:
        about = f"{pipeline_name}.{run_key_of(run_id)}"
        return alerts.renew_alert(session, KIND, about, pipeline=pipeline_name, text=text, detail=detail).id


def in_short(error: str) -> str:
    """Return an error's first line without what follows after a few hundred letters: Spark's go on for pages."""
    line = next(iter(error.strip().splitlines()), "it ended without an error of its own")
    return line if len(line) <= LONGEST_ERROR else f"{line[:LONGEST_ERROR]} …"


def missing_days(session: Session, pipeline: Pipeline, moment: datetime) -> list[MissingDays]:
    """Return what is not in as of a moment: the nights that are awaited, then failures, the newest first."""
    known, since = nights.partitions_of(session, pipeline.name), moment - REMEMBERED
    found = alerts.alerts_of(session, pipeline.name, KIND, since=since)
    lacking = {alert.id: _lacking(alert, known) for alert in found}
    failed = {day for days in lacking.values() for day in days}
    return [
        *_awaited(pipeline, known, failed, moment),
        *(_failed(pipeline, alert, lacking[alert.id]) for alert in found if lacking[alert.id]),
    ]


def _lacking(alert: Alert, known: Sequence[Partition]) -> list[str]:
    """Return the days of a failed ingest of which nothing was written down since; that one expired is not news."""
    since = {row.day for row in known if row.at >= alert.at and row.status != "expired"}
    first, last = (date.fromisoformat(alert.detail[name]) for name in ("first", "last"))
    return [day for day in days_between(first, last) if day not in since]


def _failed(pipeline: Pipeline, alert: Alert, days: Sequence[str]) -> MissingDays:
    task, run, error = (alert.detail[name] for name in ("task", "run", "error"))
    return MissingDays(
        state="failed",
        days=_named(days),
        why=f"`{task}` failed ({alert.at:%Y-%m-%d %H:%M} UTC): {error}",
        remedy=f"Mend what the failed ingest says, then clear `{task}` of run {run} of {pipeline.name}__ingest.",
    )


def _awaited(
    pipeline: Pipeline, known: Sequence[Partition], failed: set[str], moment: datetime
) -> Iterable[MissingDays]:
    if not known:
        return  # nothing was ever ingested: it is still being set up
    there = failed | {row.day for row in known}
    due = [(day, began) for day, began in due_days(pipeline, moment, moment - REMEMBERED) if day > known[-1].day]
    if awaited := [(day, began) for day, began in due if day not in there]:
        yield MissingDays(
            state="awaited",
            days=_named(sorted(day for day, _ in awaited)),
            why=f"the newest since {awaited[0][1]:%Y-%m-%d %H:%M} UTC",
            remedy=f"Look at {pipeline.name}__ingest: is it switched on, does it wait for its delivery?",
        )


def _named(days: Sequence[str]) -> str:
    return ", ".join(days) if len(days) <= MOST_NAMED else f"{len(days)} days between {days[0]} and {days[-1]}"
