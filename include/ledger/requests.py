"""This file files, claims and closes retrain requests."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from include.ledger.tables import Request, now


def file_request(
    session: Session, pipeline: str, *, reason: str, triggered_by: str, key: str, detail: dict[str, Any]
) -> Request:
    """File a request, or return the one already filed under the same key: a repeated task files nothing twice."""
    request_id = f"{pipeline}.{triggered_by}.{key}"
    request = session.get(Request, request_id)
    if request is None:
        request = Request(id=request_id, pipeline=pipeline, reason=reason, triggered_by=triggered_by, detail=detail)
        session.add(request)
        session.flush()
    return request


def claim_request(session: Session, request_id: str, run_id: str) -> Request | None:
    """Claim a request for one run; None if another run has it or it is closed. A repeated claim by that run holds."""
    session.execute(
        update(Request)
        .where(Request.id == request_id, Request.status == "open")
        .values(status="claimed", claimed_by=run_id, claimed_at=now())
    )
    request = session.get(Request, request_id, populate_existing=True)
    return request if request and request.claimed_by == run_id else None


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


def unfinished_requests(session: Session, pipeline: str) -> Sequence[Request]:
    """Return requests that are open or being worked on."""
    query = select(Request).where(Request.pipeline == pipeline, Request.status.in_(["open", "claimed"]))
    return session.scalars(query.order_by(Request.at)).all()
