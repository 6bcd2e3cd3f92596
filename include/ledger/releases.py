"""This file moves releases along: candidate → approved → promoting → champion, each step by compare-and-set."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from include.errors import StaleReleaseError
from include.ledger.tables import Release, now


def champion_of(session: Session, pipeline: str) -> Release | None:
    """Return the serving release, if there is one."""
    return session.scalar(select(Release).where(Release.pipeline == pipeline, Release.status == "champion"))


def champions(session: Session) -> Sequence[Release]:
    """Return the serving releases of all pipelines."""
    return session.scalars(select(Release).where(Release.status == "champion").order_by(Release.pipeline)).all()


def release_for_request(session: Session, request_id: str) -> Release | None:
    """Return the release that a request led to, if it got that far."""
    return session.scalar(select(Release).where(Release.request_id == request_id))


def releases_of(session: Session, pipeline: str, *statuses: str) -> Sequence[Release]:
    """Return a pipeline's releases in the given states (all, if none is given), newest first."""
    query = select(Release).where(Release.pipeline == pipeline).order_by(Release.version.desc())
    return session.scalars(query.where(Release.status.in_(statuses)) if statuses else query).all()


def waiting_releases(session: Session, pipeline: str, *, older_than_seconds: float) -> Sequence[Release]:
    """Return releases that no deploy has taken up, or brought to an end, for a while."""
    before = now() - timedelta(seconds=older_than_seconds)
    waiting = releases_of(session, pipeline, "approved", "promoting")
    # A former champion on its way back is its rollback's, not a deploy's.
    return [release for release in waiting if release.serving_at is None and _looked_at(release) <= before]


def tried_beside(session: Session, pipeline: str) -> Sequence[Release]:
    """Return the releases that are on their way and have never been the champion."""
    return [release for release in releases_of(session, pipeline, "promoting") if release.serving_at is None]


def keep_rollout(session: Session, release_id: str, **said: Any) -> None:
    """Keep what was seen of a release before and while it was tried beside the champion."""
    release = get_release(session, release_id)
    release.rollout = {**(release.rollout or {}), **said}
    session.flush()


def next_version(session: Session, pipeline: str) -> int:
    """Return the version the next release gets."""
    return 1 + (session.scalar(select(func.max(Release.version)).where(Release.pipeline == pipeline)) or 0)


def add_release(session: Session, pipeline: str, request_id: str, **fields: Any) -> Release:
    """Enter a candidate, or return the one this request already led to."""
    known = release_for_request(session, request_id)
    if known:
        return known
    version = next_version(session, pipeline)
    release = Release(
        id=f"{pipeline}.v{version}",
        pipeline=pipeline,
        version=version,
        request_id=request_id,
        status="candidate",
        **fields,
    )
    session.add(release)
    session.flush()
    return release


def judge(session: Session, release_id: str, *, approved: bool, note: str) -> Release:
    """Approve or reject a candidate; a release already judged stays as it is."""
    _move(session, release_id, {"candidate"}, status="approved" if approved else "rejected", note=note)
    return get_release(session, release_id)


def keep_approval(session: Session, release_id: str, **said: Any) -> None:
    """Keep what a person was asked about a release, and what they have answered."""
    release = get_release(session, release_id)
    release.gate = {**release.gate, "approval": {**release.gate.get("approval", {}), **said}}
    session.flush()


def refuse(session: Session, release_id: str, *, note: str) -> None:
    """Reject an approved release, on a person's word; one that is on its way already stays."""
    _move(session, release_id, {"approved"}, status="rejected", note=note)


def begin_promotion(session: Session, release_id: str, *, again_from: tuple[str, ...] = ()) -> int:
    """Put a release forward and return its fence: a number larger than any given before in this pipeline.

    A promotion that was killed may begin again; it then gets a new fence, and the old one is worth nothing.

    :param again_from: further states that may be promoted (a retired champion, for a rollback).
    :raises StaleReleaseError: if the champion is not the one the gate compared with, or the release is not approved.
    """
    release = get_release(session, release_id)
    champion = champion_of(session, release.pipeline)
    is_rollback = release.status in again_from
    if not is_rollback and (champion.version if champion else None) != release.compared_with:
        raise StaleReleaseError(
            f"{release_id} was compared with version {release.compared_with}, but the champion is now "
            f"{champion.version if champion else None}. Start a new training, so that it is compared with this one."
        )
    fence = 1 + newest_fence(session, release.pipeline)
    if not _move(session, release_id, {"approved", "promoting", *again_from}, status="promoting", fence=fence):
        raise StaleReleaseError(f"{release_id} is {release.status}, not approved: it cannot be promoted.")
    return fence


def finish_promotion(session: Session, release_id: str, fence: int, *, predecessor_becomes: str = "retired") -> Release:
    """Make a release the champion, if its fence is still the newest, and retire the champion before it.

    :raises StaleReleaseError: if a later promotion or a rollback has overtaken this one.
    """
    release = get_release(session, release_id)
    newest = newest_fence(session, release.pipeline)
    if release.status != "promoting" or release.fence != fence or newest != fence:
        raise StaleReleaseError(
            f"{release_id} with fence {fence} was overtaken: {release.status}, newest fence {newest}."
        )
    session.execute(
        update(Release)
        .where(Release.pipeline == release.pipeline, Release.status == "champion")
        .values(status=predecessor_becomes)
    )
    _move(session, release_id, {"promoting"}, status="champion", serving_at=now())
    return get_release(session, release_id)


def give_up_promotion(session: Session, release_id: str, *, note: str, becomes: str = "failed") -> None:
    """Mark a release that could not be served as failed (or as what it was, after a rollback); the champion stays."""
    _move(session, release_id, {"approved", "promoting"}, status=becomes, note=note)


def renew_fence(session: Session, release_id: str) -> int:
    """Give the champion a new fence: its state can then be declared over that of a promotion that came to nothing."""
    release = get_release(session, release_id)
    fence = 1 + newest_fence(session, release.pipeline)
    _move(session, release_id, {"champion"}, fence=fence)
    return fence


def newest_fence(session: Session, pipeline: str) -> int:
    """Return the largest fence given so far in a pipeline; 0 before the first."""
    return session.scalar(select(func.max(Release.fence)).where(Release.pipeline == pipeline)) or 0


def forget_model(session: Session, release_id: str) -> None:
    """Mark a former champion as removed, unless a rollback has taken it up: nobody can go back to it from then on."""
    _move(session, release_id, {"retired", "rolled_back"}, status="removed")


def _looked_at(release: Release) -> datetime:
    seen = (release.rollout or {}).get("seen_at")
    return max(release.at, datetime.fromisoformat(seen)) if seen else release.at


def get_release(session: Session, release_id: str) -> Release:
    """Return a release by id.

    :raises StaleReleaseError: if there is none.
    """
    release = session.get(Release, release_id, populate_existing=True)
    if release is None:
        raise StaleReleaseError(f"There is no release '{release_id}' in the ledger.")
    return release


def _move(session: Session, release_id: str, sources: set[str], **values: Any) -> bool:
    result = session.execute(
        update(Release).where(Release.id == release_id, Release.status.in_(sources)).values(**values)
    )
    session.expire_all()
    return bool(result.rowcount)  # type: ignore[attr-defined]
