"""This file keeps who has paused what, when and why, and who has taken it back."""

from collections.abc import Sequence
from datetime import UTC

from sqlalchemy import select
from sqlalchemy.orm import Session

from include.ledger.tables import Pause, now

EVERYTHING = "*"


def pause(session: Session, scope: str, *, by: str, reason: str) -> Pause:
    """Enter a pause of one pipeline or of `EVERYTHING`, or return the one that holds already."""
    if known := _holding(session, scope):
        return known
    entered = Pause(pipeline=scope, by=by, reason=reason)
    session.add(entered)
    session.flush()
    return entered


def resume(session: Session, scope: str, *, by: str) -> Pause | None:
    """End the pause of this very scope and return it; None if there is none."""
    if known := _holding(session, scope):
        known.ended_at, known.ended_by = now(), by
    return known


def pause_of(session: Session, pipeline: str) -> Pause | None:
    """Return the pause that holds for a pipeline, if one does: its own, or that of everything."""
    return _holding(session, pipeline) or _holding(session, EVERYTHING)


def pauses_of(session: Session, pipeline: str | None = None, *, newest: int | None = None) -> Sequence[Pause]:
    """Return the pauses there have been (for one pipeline, if given), newest first."""
    query = select(Pause).order_by(Pause.at.desc(), Pause.id.desc()).limit(newest)
    return session.scalars(query if pipeline is None else query.where(Pause.pipeline.in_([pipeline, EVERYTHING]))).all()


def said(held: Pause) -> str:
    """Say in words what is paused, since when, by whom and why."""
    at = held.at.astimezone(UTC) if held.at.tzinfo else held.at
    what = "Everything is paused" if held.pipeline == EVERYTHING else "Paused"
    return f"{what} since {at:%Y-%m-%d %H:%M} UTC by {held.by}: {held.reason.rstrip('.')}"


def _holding(session: Session, scope: str) -> Pause | None:
    return session.scalar(select(Pause).where(Pause.pipeline == scope, Pause.ended_at.is_(None)))
