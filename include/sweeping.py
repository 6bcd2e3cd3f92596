"""This file finds what events have missed, and puts right what crashes have left."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from include import people, promotion, rollback
from include.config import load_pipeline
from include.errors import ConfigError, PlatformError, PlatformRefusedError
from include.housekeeping import keep_house, keep_logs
from include.ledger import Attempt, Publication, Release, Request, jobs, nights, open_ledger, pauses, releases, requests
from include.ledger.tables import now
from include.platforms import ordering, platform_named
from include.platforms.base import Job, Platform


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
    """Give up requests whose run is gone; finish what a killed rollback has left; have all say what the ledger says."""
    for name in pipeline_names:
        with open_ledger() as session:
            hours = claim_hours + _hours_for_people(name) + _hours_for_jobs(name)
            requests.abandon_claims(session, name, older_than_hours=hours)
        rollback.finish_left(name)
        promotion.reconcile(name)


def _hours_for_people(name: str) -> float:
    policy = load_pipeline(name).people
    return policy.timeout_hours if policy.review else 0


def _hours_for_jobs(name: str) -> float:
    return load_pipeline(name).compute.max_hours


def stop_overdue_jobs(names: list[str]) -> list[str]:
    """Stop jobs that have outlived their lease, or whose request nobody works on any more; return their names.

    They are found by the ledger and by the platforms' own marks: also where one of both has lost them. What jobs have
    left whose model is home, and whose task was killed before it could remove it, is removed.

    :param names: the platforms to ask, besides those of the ledger's open jobs.
    :raises PlatformError: if a platform could not be asked; the others were.
    """
    with open_ledger() as session:
        attempts = {each.name: each for each in jobs.open_attempts(session)}
        done = {name: not requests.is_worked_on(session, each.request_id) for name, each in attempts.items()}
        uncleaned = jobs.uncleaned_attempts(session)
    stopped, failures = set[str](), list[str]()
    for name in sorted({*names, *(each.platform for each in (*attempts.values(), *uncleaned))}):
        try:
            platform = platform_named(name)
            mine = [each for each in attempts.values() if each.platform == name]
            stopped |= {each.name for each in mine if _put_right(platform, each, is_done=done[each.name])}
            late = [each.job for each in platform.leased() if each.lease_until <= now()]
            for job in late:
                platform.stop(job)
                stopped.add(job.name)
            for each in uncleaned:
                if each.platform == name:
                    ordering.clean_up(platform, Job(each.name, each.detail))
        except (PlatformError, PlatformRefusedError, ConfigError) as error:
            failures.append(str(error))
    if failures:
        raise PlatformError("; ".join(failures))
    return sorted(stopped)


def _put_right(platform: Platform, attempt: Attempt, *, is_done: bool) -> bool:
    """Stop an open attempt's job, if it is to end; close the attempt, if nobody else will. Return whether it ran on."""
    job, is_late = Job(attempt.name, attempt.detail), attempt.lease_until <= now()
    if not is_done and not is_late:
        return False
    status = platform.status(job)
    if status.state == "running":
        platform.stop(job)
        why = "its lease was over" if is_late else "its request is closed"
        with open_ledger() as session:
            jobs.end_lease(session, attempt.name, attempt.reason or why)
        return True
    if is_done:  # else its task brings the model home, or says what has happened
        with open_ledger() as session:
            jobs.end(session, attempt.name, status.state, reason=status.reason, seconds=status.seconds)
    return False


def expire(pipeline_names: list[str], log_days: int, now: datetime | None = None) -> dict[str, Any]:
    """Remove what each pipeline's retention policy keeps no longer, once a day, and return what went, by pipeline."""
    now = now or datetime.now(UTC)
    removed = {name: keep_house(load_pipeline(name), now) for name in pipeline_names}
    return {name: gone for name, gone in {**removed, "airflow": keep_logs(log_days, now)}.items() if gone}
