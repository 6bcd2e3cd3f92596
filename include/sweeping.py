"""This file finds what events have missed, and puts right what crashes have left."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from include import people, promotion
from include.config import load_pipeline
from include.housekeeping import keep_house, keep_logs
from include.ledger import Publication, Release, Request, nights, open_ledger, pauses, releases, requests
from include.ledger.tables import now


def late_rows(stage: str, pipeline_names: list[str], patience_seconds: float) -> dict[str, list[str]]:
    """Return, by pipeline, the ids of rows that this stage should have taken up by now, and note that it is woken.

    What a pause holds back, or a person's approval that is not there, is not late: it is woken afterwards. What keeps
    failing is woken ever more seldom.
    """
    waiting: Callable[..., Sequence[Any]] = {
        "monitor": nights.waiting_publications,
        "train": requests.open_requests,
        "deploy": releases.waiting_releases,
    }[stage]
    late: dict[str, list[str]] = {}
    with open_ledger() as session:
        for name in pipeline_names:
            paused = pauses.pause_of(session, name) is not None
            for row in waiting(session, name, older_than_seconds=patience_seconds):
                if isinstance(row, Release) and people.waits_for_approval(load_pipeline(name), row):
                    continue
                if is_due(row, patience_seconds, now()) and (not paused or is_woken_in_pause(row)):
                    row.woken, row.woken_at = row.woken + 1, now()
                    late.setdefault(name, []).append(row.id)
    return late


def is_due(row: Publication | Request | Release, patience_seconds: float, moment: datetime) -> bool:
    """Return whether a waiting row is to be woken: twice as long after each time, at most 256 times the patience."""
    patience = timedelta(seconds=patience_seconds * 2 ** min(row.woken, 8))
    return moment - (row.woken_at or row.at) >= patience


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
            hours = claim_hours + _hours_for_people(name) + _hours_for_jobs(name)
            requests.abandon_claims(session, name, older_than_hours=hours)
        promotion.reconcile(name)


def _hours_for_people(name: str) -> float:
    policy = load_pipeline(name).people
    return policy.timeout_hours if policy.review else 0


def _hours_for_jobs(name: str) -> float:
    return load_pipeline(name).compute.max_hours


def expire(pipeline_names: list[str], log_days: int, now: datetime | None = None) -> dict[str, Any]:
    """Remove what each pipeline's retention policy keeps no longer, once a day, and return what went, by pipeline."""
    now = now or datetime.now(UTC)
    removed = {name: keep_house(load_pipeline(name), now) for name in pipeline_names}
    return {name: gone for name, gone in {**removed, "airflow": keep_logs(log_days, now)}.items() if gone}
