"""This file says which days are not in: those whose ingest failed, and the night that is awaited."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy.orm import Session

from include.alerting import due_day
from include.ledger import Alert, Partition, alerts, nights, open_ledger
from include.partition import run_key_of
from include.pipeline import Pipeline

FAILED = "ingest"  # the kind of alert that a failed ingest leaves
REMEMBERED = timedelta(days=7)  # a failure that nobody mends is old news, such as a range by hand with a slip in it


@dataclass(frozen=True)
class MissingDays:
    """Days that are not in."""

    days: str
    why: str
    remedy: str


def note_failure(pipeline_name: str, run_id: str, task_id: str, days: tuple[str, str], error: str) -> None:
    """Keep that an ingest failed; the same run's next failure replaces it.

    :param days: first and last.
    """
    with open_ledger() as session:
        alerts.note_told(
            session,
            FAILED,
            f"{pipeline_name}.{run_key_of(run_id)}",
            pipeline=pipeline_name,
            text=error,
            detail={"first": days[0], "last": days[1], "task": task_id, "run": run_id},
        )


def missing_days(session: Session, pipeline: Pipeline, moment: datetime) -> list[MissingDays]:
    """Return what is not in as of a moment, the newest failure first."""
    known = nights.partitions_of(session, pipeline.name)
    failed = [
        alert
        for alert in alerts.alerts_of(session, pipeline.name, FAILED, since=moment - REMEMBERED)
        if not _has_come(alert, known)
    ]
    return [*_awaited(pipeline, known, failed, moment), *(_failed(pipeline, alert) for alert in failed)]


def _has_come(alert: Alert, known: Sequence[Partition]) -> bool:
    """Tell whether any of the days was written down since, if only as refused by that run itself."""
    inside = [row for row in known if alert.detail["first"] <= row.day <= alert.detail["last"]]
    return any(row.at >= alert.at or row.run_key == run_key_of(alert.detail["run"]) for row in inside)


def _failed(pipeline: Pipeline, alert: Alert) -> MissingDays:
    first, last, task, run = (alert.detail[name] for name in ("first", "last", "task", "run"))
    return MissingDays(
        days=first if first == last else f"{first} to {last}",
        why=f"`{task}` failed ({alert.at:%Y-%m-%d %H:%M} UTC): {alert.text}",
        remedy=f"Mend what the failed ingest says, then clear `{task}` of run {run} of {pipeline.name}__ingest.",
    )


def _awaited(
    pipeline: Pipeline, known: Sequence[Partition], failed: Sequence[Alert], moment: datetime
) -> Iterable[MissingDays]:
    due = due_day(pipeline, moment)
    if due is None or not known:
        return  # nothing is due, or nothing was ever ingested: it is still being set up
    day, began = due
    is_told = any(alert.detail["first"] <= day <= alert.detail["last"] for alert in failed)
    if not is_told and day not in {row.day for row in known}:
        yield MissingDays(
            days=day,
            why=f"awaited since {began:%Y-%m-%d %H:%M} UTC",
            remedy=f"Look at {pipeline.name}__ingest: is it switched on, does it wait for its delivery?",
        )
