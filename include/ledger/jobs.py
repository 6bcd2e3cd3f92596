"""This file keeps what was ordered from platforms: one row for each attempt, and never two that may be running."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from include.jobs import (
    BUDGET_DAYS,
    Wanted,
    check_budget,
    cost_of,
    expected_seconds,
    lease_of,
    may_be_interrupted,
    name_of,
)
from include.ledger.tables import Attempt, now

NEWEST = 5  # jobs that say how long the next one will take


def newest_attempt(session: Session, request_id: str) -> Attempt | None:
    """Return the newest attempt at a request."""
    query = select(Attempt).where(Attempt.request_id == request_id)
    return session.scalar(query.order_by(Attempt.attempt.desc()).limit(1))


def open_attempts(session: Session) -> Sequence[Attempt]:
    """Return all attempts that were not yet seen to have ended, oldest first."""
    return session.scalars(select(Attempt).where(Attempt.status == "open").order_by(Attempt.at)).all()


def uncleaned_attempts(session: Session) -> Sequence[Attempt]:
    """Return attempts of the last 30 days whose model came home, and that may have left something on their platform."""
    since = now() - timedelta(days=BUDGET_DAYS)
    query = select(Attempt).where(Attempt.status == "succeeded", Attempt.ended_at >= since)
    return [each for each in session.scalars(query) if each.detail]


def attempts_of(session: Session, request_id: str) -> Sequence[Attempt]:
    """Return all attempts at a request, in their order."""
    return session.scalars(select(Attempt).where(Attempt.request_id == request_id).order_by(Attempt.attempt)).all()


def next_attempt(session: Session, wanted: Wanted) -> Attempt:
    """Return the attempt that is open, or enter the next one: only where the one before was seen to have ended.

    :raises BudgetError: if a new one would cost more than is left.
    """
    before = attempts_of(session, wanted.request_id)
    if before and before[-1].status == "open":
        return before[-1]
    past = newest_seconds(session, wanted)
    estimate = cost_of(expected_seconds(past, wanted.max_seconds), wanted.price_per_hour)
    check_budget(wanted, spent(session, wanted.pipeline), estimate)
    number, moment = (before[-1].attempt + 1 if before else 1), now()
    attempt = Attempt(
        name=name_of(wanted.pipeline, wanted.request_id, number),
        pipeline=wanted.pipeline,
        request_id=wanted.request_id,
        platform=wanted.platform,
        attempt=number,
        accelerator=wanted.accelerator,
        is_spot=may_be_interrupted(wanted, [each.status for each in before]),
        lease_until=lease_of(wanted, moment),
        price_per_hour=wanted.price_per_hour,
        estimate=estimate,
        detail={},
        at=moment,
    )
    session.add(attempt)
    session.flush()
    return attempt


def keep_detail(session: Session, name: str, detail: dict[str, Any]) -> None:
    """Keep what the platform needs to find a job again; nothing, where nothing of it is there any more."""
    session.get_one(Attempt, name).detail = detail


def end_lease(session: Session, name: str, why: str) -> None:
    """Note that a job was told to end: should it go on all the same, `sweep` tells it again."""
    attempt = session.get_one(Attempt, name)
    if attempt.status == "open":
        attempt.reason, attempt.lease_until = why, min(attempt.lease_until, now())


def end(session: Session, name: str, status: str, *, reason: str, seconds: float | None) -> None:
    """Close an attempt whose job was seen to have ended, once; one that was told to end is `stopped`.

    :param seconds: that are paid for; unknown ones cost what was estimated.
    """
    attempt = session.get_one(Attempt, name)
    if attempt.status != "open":
        return
    was_told, attempt.ended_at = bool(attempt.reason), now()
    attempt.status = "stopped" if was_told and status in {"interrupted", "failed", "gone"} else status
    attempt.reason = "; ".join(part for part in (attempt.reason, reason) if part)
    attempt.seconds = 0.0 if status == "gone" else seconds
    attempt.cost = attempt.estimate if attempt.seconds is None else cost_of(attempt.seconds, attempt.price_per_hour)


def spent(session: Session, pipeline: str) -> float:
    """Return what a pipeline's jobs of the last 30 days have cost; what has not ended counts as estimated."""
    money = func.sum(func.coalesce(Attempt.cost, Attempt.estimate))
    since = now() - timedelta(days=BUDGET_DAYS)
    return session.scalar(select(money).where(Attempt.pipeline == pipeline, Attempt.at >= since)) or 0.0


def newest_seconds(session: Session, wanted: Wanted) -> list[float]:
    """Return how long the newest trainings like this one took, of the same pipeline, platform and accelerator."""
    query = select(Attempt.seconds).where(
        Attempt.pipeline == wanted.pipeline,
        Attempt.platform == wanted.platform,
        Attempt.accelerator == wanted.accelerator,
        Attempt.status == "succeeded",
        Attempt.seconds.is_not(None),
    )
    return [
        float(each) for each in session.scalars(query.order_by(Attempt.at.desc()).limit(NEWEST)) if each is not None
    ]


def cost_of_request(session: Session, request_id: str) -> float:
    """Return what all attempts at a request have cost so far."""
    return session.scalar(select(func.sum(Attempt.cost)).where(Attempt.request_id == request_id)) or 0.0


def seconds_of_request(session: Session, request_id: str) -> float:
    """Return how long all attempts at a request ran so far, as far as that is known."""
    return session.scalar(select(func.sum(Attempt.seconds)).where(Attempt.request_id == request_id)) or 0.0
