"""This file files, claims and closes retrain requests."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import or_, select, update
from sqlalchemy.orm import Session

from include.ledger.pauses import pause_of
from include.ledger.tables import Pause, Release, Request, now
from include.policy import RepairName


def file_request(  # noqa: PLR0913  a row's fields
    session: Session,
    pipeline: str,
    *,
    reason: str,
    triggered_by: str,
    key: str,
    detail: dict[str, Any],
    repair: RepairName = "retrain",
) -> Request:
    """File a request, or return the one already filed under the same key: a repeated task files nothing twice."""
    request_id = f"{pipeline}.{triggered_by}.{key}"
    request = session.get(Request, request_id)
    if request is None:
        request = Request(
            id=request_id, pipeline=pipeline, reason=reason, triggered_by=triggered_by, detail=detail, repair=repair
        )
        session.add(request)
        session.flush()
    return request


def claim_request(session: Session, request_id: str, run_id: str) -> Request | None:
    """Claim a request for one run; None if another run has it or it is done.

    A repeated claim by the same run holds, also after that run had given up: it was cleared to try again.
    """
    is_free = Request.status == "open"
    is_tried_again = (Request.status == "failed") & (Request.claimed_by == run_id)
    session.execute(
        update(Request)
        .where(Request.id == request_id, is_free | is_tried_again)
        .values(status="claimed", claimed_by=run_id, claimed_at=now(), closed_at=None, note="")
    )
    request = session.get(Request, request_id, populate_existing=True)
    return request if request and request.claimed_by == run_id and request.status == "claimed" else None


def is_worked_on(session: Session, request_id: str) -> bool:
    """Tell whether a run has claimed a request and not closed it."""
    request = session.get(Request, request_id)
    return request is not None and request.status == "claimed"


def held_back(session: Session, request_id: str) -> Pause | None:
    """Return the pause that holds a request back, if one does; what a person has asked for is never held back."""
    request = session.get(Request, request_id)
    return pause_of(session, request.pipeline) if request and request.triggered_by != "hand" else None


def release_claim(session: Session, request_id: str) -> None:
    """Open a claimed request again: another run may claim it."""
    session.execute(
        update(Request)
        .where(Request.id == request_id, Request.status == "claimed")
        .values(status="open", claimed_by=None, claimed_at=None)
        .execution_options(synchronize_session=False)
    )
    session.expire_all()


def abandon_claims(session: Session, pipeline: str, *, older_than_hours: float) -> None:
    """Close as failed what was claimed long ago and never closed: its run was deleted, or died beyond its retries."""
    before = now() - timedelta(hours=older_than_hours)
    session.execute(
        update(Request)
        .where(Request.pipeline == pipeline, Request.status == "claimed", Request.claimed_at <= before)
        .values(status="failed", closed_at=now(), note=f"Not finished within {older_than_hours} h.")
        .execution_options(synchronize_session=False)
    )
    session.expire_all()


def keep_review(session: Session, request_id: str, **said: Any) -> None:
    """Keep what a person was asked about a request, and what they have answered."""
    request = session.get_one(Request, request_id)
    request.detail = {**request.detail, "review": {**request.detail.get("review", {}), **said}}
    if "answer" in said:
        request.claimed_at = now()  # the wait for a person is no time that the training took


def forget_review(session: Session, request_id: str) -> None:
    """Forget a review: a run that was cleared after a refusal asks again."""
    request = session.get_one(Request, request_id)
    request.detail = {name: value for name, value in request.detail.items() if name != "review"}


def training_seconds(session: Session, pipeline: str, *, newest: int) -> list[float]:
    """Return how long the newest trainings took, from claim to verdict."""
    query = select(Request).where(
        Request.pipeline == pipeline,
        Request.status == "done",
        Request.repair == "retrain",
        Request.closed_at.is_not(None),
    )
    found = session.scalars(query.order_by(Request.closed_at.desc()).limit(newest))
    return [(row.closed_at - row.claimed_at).total_seconds() for row in found if row.closed_at and row.claimed_at]


def close_request(session: Session, request_id: str, *, status: str, note: str) -> None:
    """Close a request as `done` or `failed`, once."""
    session.execute(
        update(Request)
        .where(Request.id == request_id, Request.closed_at.is_(None))
        .values(status=status, note=note, closed_at=now())
    )


def open_requests(session: Session, pipeline: str, *, older_than_seconds: float) -> Sequence[Request]:
    """Return requests nobody claimed, oldest first."""
    before = now() - timedelta(seconds=older_than_seconds)
    query = select(Request).where(Request.pipeline == pipeline, Request.status == "open", Request.at <= before)
    return session.scalars(query.order_by(Request.at)).all()


def requests_of(session: Session, pipeline: str, *, newest: int) -> Sequence[Request]:
    """Return the newest requests, newest first."""
    query = select(Request).where(Request.pipeline == pipeline).order_by(Request.at.desc()).limit(newest)
    return session.scalars(query).all()


def all_requests(session: Session, pipeline: str) -> Sequence[Request]:
    """Return every request, oldest first."""
    return session.scalars(select(Request).where(Request.pipeline == pipeline).order_by(Request.at)).all()


def repairs_without_outcome(session: Session, pipeline: str) -> Sequence[tuple[Request, Release]]:
    """Return repairs that replaced a champion and whose gain is not known yet, with the releases that came of them."""
    query = (
        select(Request, Release)
        .join(Release, Release.request_id == Request.id)
        .where(Request.pipeline == pipeline, Release.serving_at.is_not(None), Release.compared_with.is_not(None))
        .order_by(Request.at)
    )
    return [(request, release) for request, release in session.execute(query) if request.outcome is None]


def unfinished_requests(session: Session, pipeline: str) -> Sequence[Request]:
    """Return requests that are open or being worked on."""
    query = select(Request).where(Request.pipeline == pipeline, Request.status.in_(["open", "claimed"]))
    return session.scalars(query.order_by(Request.at)).all()


def fruitless_requests(session: Session, pipeline: str) -> Sequence[Request]:
    """Return requests whose training failed, or whose model was refused by the gate or could not be served."""
    came_to_nothing = or_(Request.status == "failed", Release.status.in_(["rejected", "failed"]))
    query = select(Request).outerjoin(Release, Release.request_id == Request.id)
    return session.scalars(query.where(Request.pipeline == pipeline, came_to_nothing).order_by(Request.at)).all()
