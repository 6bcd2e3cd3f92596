"""This file keeps what people are to be told: each thing once, however often it is found."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from include.ledger.tables import Alert, now


def raise_alert(
    session: Session, kind: str, about: str, *, pipeline: str, text: str, detail: dict[str, Any] | None = None
) -> Alert:
    """Enter an alert about a thing, or return the one that is there."""
    alert_id = f"{kind}.{about}"
    alert = session.get(Alert, alert_id)
    if alert is None:
        alert = Alert(id=alert_id, pipeline=pipeline, kind=kind, text=text, detail=detail or {})
        session.add(alert)
        session.flush()
    return alert


def renew_alert(session: Session, kind: str, about: str, *, pipeline: str, text: str, detail: dict[str, Any]) -> Alert:
    """Enter an alert about a thing that has happened again if it is there already, and return it, untold."""
    alert = Alert(id=f"{kind}.{about}", pipeline=pipeline, kind=kind, text=text, detail=detail, at=now(), told_at=None)
    return session.merge(alert)


def alerts_of(session: Session, pipeline: str, kind: str, *, since: datetime) -> Sequence[Alert]:
    """Return a pipeline's alerts of a kind since a moment, newest first."""
    query = select(Alert).where(Alert.pipeline == pipeline, Alert.kind == kind, Alert.at >= since)
    return session.scalars(query.order_by(Alert.at.desc())).all()


def untold_alerts(session: Session) -> Sequence[Alert]:
    """Return what nobody has been told yet, oldest first."""
    return session.scalars(select(Alert).where(Alert.told_at.is_(None)).order_by(Alert.at)).all()


def mark_told(session: Session, alert_id: str) -> None:
    """Note that people have been told."""
    session.get_one(Alert, alert_id).told_at = now()
