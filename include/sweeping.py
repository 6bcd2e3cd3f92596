"""This file finds what events have missed, and puts right what crashes have left."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from include import deployment
from include.config import load_pipeline
from include.housekeeping import keep_house, keep_logs
from include.ledger import Publication, Release, Request, nights, open_ledger, pauses, releases, requests


def late_rows(stage: str, pipeline_names: list[str], patience_seconds: float) -> dict[str, list[str]]:
    """Return, by pipeline, the ids of rows that this stage should have taken up by now.

    What a pause holds back is not late: it is woken after the pause.
    """
    waiting: Callable[..., Sequence[Any]] = {
        "monitor": nights.waiting_publications,
        "train": requests.open_requests,
        "deploy": releases.waiting_releases,
    }[stage]
    with open_ledger() as session:
        found = {name: waiting(session, name, older_than_seconds=patience_seconds) for name in pipeline_names}
        paused = {name for name in pipeline_names if pauses.pause_of(session, name)}
    late = {
        name: [row.id for row in rows if name not in paused or is_woken_in_pause(row)] for name, rows in found.items()
    }
    return {name: ids for name, ids in late.items() if ids}


def is_woken_in_pause(row: Publication | Request | Release) -> bool:
    """Return whether a late row is woken although its pipeline is paused.

    Measuring goes on, and so does what a person asked for. A promotion that died half-way is woken to be undone: else
    the endpoint would serve for the length of the pause what is not the champion.
    """
    if isinstance(row, Request):
        return row.triggered_by == "hand"
    return not isinstance(row, Release) or row.status == "promoting"


def reconcile(pipeline_names: list[str], claim_hours: float) -> None:
    """Give up requests whose run is gone; make endpoint state and registry alias say what the ledger says."""
    for name in pipeline_names:
        with open_ledger() as session:
            requests.abandon_claims(session, name, older_than_hours=claim_hours)
        deployment.reconcile(name)


def expire(pipeline_names: list[str], log_days: int, now: datetime | None = None) -> dict[str, Any]:
    """Remove what each pipeline's retention policy keeps no longer, once a day, and return what went, by pipeline."""
    now = now or datetime.now(UTC)
    removed = {name: keep_house(load_pipeline(name), now) for name in pipeline_names}
    return {name: gone for name, gone in {**removed, "airflow": keep_logs(log_days, now)}.items() if gone}
