"""This file keeps what happened to each day: partitions, publications, measured windows, decisions."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from include.ledger.tables import Decision, Partition, Publication, Window, now


def record_partition(session: Session, pipeline: str, day: str, **fields: Any) -> None:
    """Write what became of one day; another run's word on the same day replaces it and counts as a redelivery."""
    known = session.get(Partition, (pipeline, day))
    again = 0 if known is None else known.redeliveries + (known.run_key != fields["run_key"])
    session.merge(Partition(pipeline=pipeline, day=day, redeliveries=again, at=now(), **fields))


def partitions_of(session: Session, pipeline: str, *, newest: int | None = None) -> Sequence[Partition]:
    """Return the days known, newest first."""
    return session.scalars(
        select(Partition).where(Partition.pipeline == pipeline).order_by(Partition.day.desc()).limit(newest)
    ).all()


def published_days(session: Session, pipeline: str) -> list[str]:
    """Return all published days, oldest first."""
    query = select(Partition.day).where(Partition.pipeline == pipeline, Partition.status == "published")
    return list(session.scalars(query.order_by(Partition.day)))


def labelled_days(session: Session, pipeline: str) -> list[str]:
    """Return the published days of which some rows have a label, oldest first."""
    query = select(Partition.day).where(
        Partition.pipeline == pipeline, Partition.status == "published", Partition.labelled > 0
    )
    return list(session.scalars(query.order_by(Partition.day)))


def announce(session: Session, publication: Publication) -> None:
    """Enter a publication, once."""
    if session.get(Publication, publication.id) is None:
        session.add(publication)


def publication_of_run(session: Session, pipeline: str, run_key: str) -> Publication | None:
    """Return what a run has published last: its id is the run's key and eight letters of the attempt."""
    began = f"{pipeline}.{run_key}-"
    query = select(Publication).where(
        Publication.id.startswith(began, autoescape=True), func.length(Publication.id) == len(began) + 8
    )
    return session.scalars(query.order_by(Publication.at.desc()).limit(1)).first()


def finish_publication(session: Session, publication_id: str) -> None:
    """Mark a publication as monitored."""
    session.execute(update(Publication).where(Publication.id == publication_id).values(status="done"))


def waiting_publications(session: Session, pipeline: str, *, older_than_seconds: float) -> Sequence[Publication]:
    """Return publications that monitoring has not finished for a while, oldest first."""
    before = now() - timedelta(seconds=older_than_seconds)
    query = select(Publication).where(
        Publication.pipeline == pipeline, Publication.status == "open", Publication.at <= before
    )
    return session.scalars(query.order_by(Publication.at)).all()


def record_windows(session: Session, windows: Iterable[Window]) -> None:
    """Write measured windows; a window measured again (late labels) replaces the old one."""
    for window in windows:
        session.merge(window)


def windows_of(session: Session, pipeline: str, version: int | None = None) -> Sequence[Window]:
    """Return measured windows (of one version, if given), oldest day first."""
    query = select(Window).where(Window.pipeline == pipeline).order_by(Window.day, Window.version)
    return session.scalars(query if version is None else query.where(Window.version == version)).all()


def newest_window(session: Session, pipeline: str, *, is_judged: bool = False) -> Window | None:
    """Return the newest measured window (of those whose quality is known, if asked for)."""
    query = (
        select(Window).where(Window.pipeline == pipeline).order_by(Window.day.desc(), Window.version.desc()).limit(1)
    )
    return session.scalar(query.where(Window.quality.is_not(None)) if is_judged else query)


def record_decision(session: Session, decision: Decision) -> Decision:
    """Enter a decision, or return what was already decided about that publication."""
    known = session.get(Decision, decision.publication_id)
    if known:
        return known
    session.add(decision)
    session.flush()
    return decision


def decisions_of(session: Session, pipeline: str, *, newest: int) -> Sequence[Decision]:
    """Return the newest decisions, newest first."""
    query = select(Decision).where(Decision.pipeline == pipeline).order_by(Decision.at.desc()).limit(newest)
    return session.scalars(query).all()


def expire_days(session: Session, pipeline: str, first_kept: str) -> None:
    """Mark the days before one as expired: what was published of them leaves the table."""
    session.execute(
        update(Partition)
        .where(Partition.pipeline == pipeline, Partition.day < first_kept, Partition.status == "published")
        .values(status="expired")
    )


def forget_measurements(session: Session, pipeline: str, before: datetime) -> int:
    """Delete windows and decisions written before a moment, and return how many.

    Publications stay: a small row, which keeps a run that is cleared years later from publishing its days again.
    """
    tables: tuple[type[Window | Decision], ...] = (Window, Decision)
    gone = [session.execute(delete(each).where(each.pipeline == pipeline, each.at < before)) for each in tables]
    return sum(result.rowcount for result in gone)  # type: ignore[attr-defined]


def last_decision(session: Session, pipeline: str) -> Decision | None:
    """Return the newest decision."""
    return next(iter(decisions_of(session, pipeline, newest=1)), None)
