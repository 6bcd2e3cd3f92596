"""This file puts a release behind the endpoint: by fence, acknowledged or undone."""

import logging
import time

import httpx
from sqlalchemy.orm import Session

from include import people
from include.config import load_pipeline
from include.deployment import has_acknowledged, is_declared, state_of
from include.errors import EndpointError, StaleReleaseError
from include.going_back import Back, stays_of
from include.ledger import Release, open_ledger, pauses, releases
from include.serving.state import State, declare, read_state, withdraw
from include.settings import Settings, load_settings

log = logging.getLogger(__name__)

POLL_SECONDS = 0.1


def approved_release(pipeline_name: str, version: int | None = None) -> str:
    """Return the id of the newest approved release, or of the version asked for.

    :raises StaleReleaseError: if there is none, or the version asked for is not on its way and not the champion.
    """
    with open_ledger() as session:
        known = releases.releases_of(session, pipeline_name)
    fitting = [
        release
        for release in known
        if (release.status in {"approved", "promoting"} if version is None else release.version == version)
    ]
    if not fitting:
        wanted = "an approved release" if version is None else f"version {version}"
        listed = ", ".join(f"v{release.version} {release.status}" for release in known) or "none"
        raise StaleReleaseError(
            f"There is nothing to deploy: '{pipeline_name}' has no such thing as {wanted}. Releases: {listed}. "
            "Start a training, or name another version; a former champion is put back by `rollback`."
        )
    found = fitting[0]
    if found.status not in {"approved", "promoting", "champion"}:
        way = (
            f"A former champion is put back by `evergreen rollback {pipeline_name} --to {found.version} --reason WHY`."
            if found.serving_at is not None and found.status != "removed"
            else "Only an approved release can be: name another version, or start a training."
        )
        raise StaleReleaseError(f"{found.id} is {found.status}, so it cannot be deployed. {way}")
    return found.id


def promote(release_id: str, *, by_itself: bool = False, timeout_seconds: float = 30.0) -> str | None:
    """Make an approved release the champion, once the endpoint says that it serves it.

    May be repeated after a kill; a release that is the champion already is only reconciled.

    :param by_itself: nobody has asked for this promotion, so a pause holds it, and so does a person's approval that is
        wanted and not there: no champion changes by itself once the pause is in the ledger, not even where the endpoint
        is about to acknowledge. The release then waits, approved.
    :returns: why it was held, if it was, else None.
    :raises StaleReleaseError: if the champion is no longer the one the gate compared with.
    :raises EndpointError: if the endpoint does not acknowledge in time; the champion before is put back. A release that
        the endpoint cannot load has failed; one it did not answer about stays approved, for a retry or for `sweep`.
    """
    settings = load_settings()
    with open_ledger(settings.ledger_url) as session:
        release = releases.get_release(session, release_id)
        held = held_by(session, release) if by_itself else None
    if held:
        return hold(settings, release, held)
    if release.status == "champion":
        reconcile(release.pipeline)
        return None
    release, fence = begin(settings, release_id)
    return put_forward(settings, release, fence, by_itself=by_itself, timeout_seconds=timeout_seconds)


def begin(settings: Settings, release_id: str) -> tuple[Release, int]:
    """Put an approved release forward, or forward again, and return it with its fence.

    :raises StaleReleaseError: if the champion is no longer the one the gate compared with: the release has failed then.
    """
    try:
        with open_ledger(settings.ledger_url) as session:
            fence = releases.begin_promotion(session, release_id)
            return releases.get_release(session, release_id), fence
    except StaleReleaseError as error:
        with open_ledger(settings.ledger_url) as session:  # else it would be taken up again and again
            release = releases.get_release(session, release_id)
            becomes = "failed" if release.serving_at is None else stays_of(release)
            releases.give_up_promotion(session, release_id, note=str(error), becomes=becomes)
        raise


def reconcile(pipeline_name: str, *, after_trial: bool = False) -> State | None:
    """Make the endpoint's declared state and the registry's alias say what the ledger says.

    :param after_trial: a trial has just been ended: that the state still names it is no surprise.
    :returns: the state, if it had to be declared again.
    """
    settings = load_settings()
    with open_ledger(settings.ledger_url) as session:
        champion = releases.champion_of(session, pipeline_name)
        if champion is None or releases.releases_of(session, pipeline_name, "promoting"):
            return None  # nothing to say, or a promotion is about to change it
        state = None
        if not is_declared(_declared(settings, pipeline_name), champion):
            if not after_trial:
                log.warning("%s: the declared state is not %s; it is written again.", pipeline_name, champion.id)
            state = state_of(champion, releases.renew_fence(session, champion.id))
            declare(settings, state)
    _point_alias(champion)
    return state


def put_forward(
    settings: Settings,
    release: Release,
    fence: int,
    *,
    timeout_seconds: float,
    by_itself: bool = False,
    back: Back | None = None,
) -> str | None:
    """Have the endpoint serve what was put forward by a fence, then make it the champion, or undo it.

    :param back: why a former champion is put back, if it is one.
    :returns: why it was held, if it was, else None.
    :raises EndpointError: if the endpoint does not acknowledge in time.
    """
    state = state_of(release, fence)
    declare(settings, state)
    why, is_refused = wait_until_acknowledged(settings.endpoint_url, state, timeout_seconds)
    if why:
        # What the endpoint cannot load it never will; what it has not answered may succeed at the next try.
        becomes = back.stays if back else "failed" if is_refused else "approved"
        undo(settings, release, fence, note=f"The endpoint did not acknowledge it: {why}", becomes=becomes)
        raise EndpointError(
            f"The endpoint at {settings.endpoint_url} did not acknowledge {release.id} (generation {fence}) within "
            f"{timeout_seconds:g} s: {why}. The champion before stays. Look at the endpoint's log, then deploy again."
        )
    with open_ledger(settings.ledger_url) as session:
        held = held_by(session, release) if by_itself else None
        if held is None:
            _enter_champion(session, release, fence, back)
    if held:
        return hold(settings, release, held)
    log.info("%s is the champion (generation %s).", release.id, fence)
    _point_alias(release)
    return None


def _enter_champion(session: Session, release: Release, fence: int, back: Back | None) -> None:
    before = releases.champion_of(session, release.pipeline)
    # Who goes forward again to a newer version takes a rollback back: the champion until then was not at fault.
    is_left = back is not None and before is not None and release.version < before.version
    becomes = "rolled_back" if is_left else "retired"
    releases.finish_promotion(session, release.id, fence, predecessor_becomes=becomes)
    if back is None:
        return
    place = f" in place of v{before.version}" if before else ""
    releases.get_release(session, release.id).note = f"Put back by hand{place}: {back.reason}"
    if before:
        gave_way = f"Gave way to v{release.version} again: {back.reason}"
        releases.get_release(session, before.id).note = back.reason if is_left else gave_way


def held_by(session: Session, release: Release) -> str | None:
    """Return why a release may not go on by itself, if it may not: a pause, or an approval that is not there."""
    if release.status == "champion":
        return None
    if held := pauses.pause_of(session, release.pipeline):
        return (
            f"{pauses.said(held)}. {release.id} waits: `sweep` wakes it after `evergreen resume`, or deploy it by hand."
        )
    if people.waits_for_approval(load_pipeline(release.pipeline), release):
        return f"{release.id} waits for a person's approval: answer in its `train` run, or deploy it by hand."
    return None


def hold(settings: Settings, release: Release, held: str) -> str:
    """Let a release wait; a promotion that has begun (perhaps in a process that died) is undone."""
    if release.status == "promoting" and release.fence is not None and release.serving_at is None:
        undo(settings, release, release.fence, note=release.note, becomes="approved")
    log.info("%s", held)
    return held


def undo(settings: Settings, release: Release, fence: int, *, note: str, becomes: str) -> None:
    """Give up what was put forward by a fence, and have the champion served alone; what a newer one has said stays."""
    with open_ledger(settings.ledger_url) as session:
        if releases.get_release(session, release.id).fence != fence:
            return  # overtaken by a newer attempt, whose state it is now
        releases.give_up_promotion(session, release.id, note=note, becomes=becomes)
        champion = releases.champion_of(session, release.pipeline)
        if releases.newest_fence(session, release.pipeline) != fence:
            return  # a rollback is under way: what is to be served is its to say
        if champion:
            declare(settings, state_of(champion, releases.renew_fence(session, champion.id)))
        else:
            withdraw(settings, release.pipeline, fence)


def wait_until_acknowledged(url: str, state: State, timeout_seconds: float) -> tuple[str, bool]:
    """Return what was last heard if that is no acknowledgement, and whether it was a refusal."""
    until = time.monotonic() + timeout_seconds
    with httpx.Client(base_url=url, timeout=2, trust_env=False) as client:
        while True:
            try:
                answer = client.get("/ping").json()
                if has_acknowledged(answer, state):
                    return "", False
                workers = answer.get("workers", [])
                refusal = next(filter(None, (worker["errors"].get(state.pipeline) for worker in workers)), "")
                heard = refusal or f"its processes serve {[worker['pipelines'] for worker in workers]}"
            except (httpx.HTTPError, ValueError) as error:
                heard, refusal = f"{type(error).__name__}: {error}", ""
            if time.monotonic() >= until:
                return heard, bool(refusal)
            time.sleep(POLL_SECONDS)


def _declared(settings: Settings, pipeline_name: str) -> State | None:
    try:
        return read_state(settings, pipeline_name)
    except ValueError as error:
        log.warning("%s: the declared state is broken: %s", pipeline_name, error)
        return None


def _point_alias(release: Release) -> None:
    try:
        from include import registry  # noqa: PLC0415  MLflow takes seconds to import and is wanted at the end only

        registry.point_alias(release.pipeline, release.version)
    except Exception:  # the alias only mirrors the ledger; `sweep` puts it right later
        log.exception("%s: the registry's alias could not be pointed at version %s.", release.pipeline, release.version)
