"""This file puts a release behind the endpoint, or the one before it back: by fence, acknowledged or undone."""

import logging
import time
from collections.abc import Mapping, Sequence
from typing import Any

import httpx
from sqlalchemy.orm import Session

from include import people
from include.config import load_pipeline
from include.errors import EndpointError, StaleReleaseError
from include.ledger import Release, open_ledger, pauses, releases
from include.serving.state import State, declare, read_state, withdraw
from include.settings import Settings, load_settings

log = logging.getLogger(__name__)

POLL_SECONDS = 0.1
# A rollback may bring back what served before; "promoting" stands for one that was killed half-way.
_REINSTATED_FROM = ("retired", "rolled_back", "promoting")


def approved_release(pipeline_name: str, version: int | None = None) -> str:
    """Return the id of the newest approved release, or of the version asked for.

    :raises StaleReleaseError: if there is none.
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
    return fitting[0].id


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
    try:
        with open_ledger(settings.ledger_url) as session:
            release = releases.get_release(session, release_id)
            held = _held(session, release) if by_itself else None
            fence = None if held or release.status == "champion" else releases.begin_promotion(session, release_id)
            release = releases.get_release(session, release_id)
    except StaleReleaseError as error:
        with open_ledger(settings.ledger_url) as session:  # else it would be taken up again and again
            has_served = releases.get_release(session, release_id).serving_at is not None
            becomes = "retired" if has_served else "failed"
            releases.give_up_promotion(session, release_id, note=str(error), becomes=becomes)
        raise
    if held:
        return _hold(settings, release, held)
    if fence is None:
        reconcile(release.pipeline)
        return None
    return _put_forward(settings, release, fence, by_itself=by_itself, timeout_seconds=timeout_seconds)


def version_before(pipeline_name: str, to_version: int | None = None) -> int:
    """Return the version a rollback goes to: the one asked for, or the champion before this one.

    :raises StaleReleaseError: if it has never served.
    """
    with open_ledger() as session:
        champion = releases.champion_of(session, pipeline_name)
        return choose_target(champion, releases.releases_of(session, pipeline_name), to_version).version


def rollback(pipeline_name: str, reason: str, to_version: int, *, timeout_seconds: float = 30.0) -> str:
    """Put a former champion back, and return its release's id.

    May be repeated without harm. It overtakes a promotion that is under way.

    :raises StaleReleaseError: if there is no such release that has served before.
    :raises EndpointError: if the endpoint does not acknowledge in time; the champion stays.
    """
    settings = load_settings()
    with open_ledger(settings.ledger_url) as session:
        champion = releases.champion_of(session, pipeline_name)
        target = choose_target(champion, releases.releases_of(session, pipeline_name), to_version)
        is_done = champion is not None and target.id == champion.id
        fence = None if is_done else releases.begin_promotion(session, target.id, again_from=_REINSTATED_FROM)
        target = releases.get_release(session, target.id)
    if fence is None:
        reconcile(pipeline_name)
    else:
        _put_forward(settings, target, fence, rolled_back_because=reason, timeout_seconds=timeout_seconds)
    return target.id


def reconcile(pipeline_name: str) -> None:
    """Make the endpoint's declared state and the registry's alias say what the ledger says."""
    settings = load_settings()
    with open_ledger(settings.ledger_url) as session:
        champion = releases.champion_of(session, pipeline_name)
        if champion is None or releases.releases_of(session, pipeline_name, "promoting"):
            return  # nothing to say, or a promotion is about to change it
        if not is_declared(_declared(settings, pipeline_name), champion):
            log.warning("%s: the declared state is not %s; it is written again.", pipeline_name, champion.id)
            _declare_champion(settings, champion, releases.renew_fence(session, champion.id))
    _point_alias(champion)


def choose_target(champion: Release | None, known: Sequence[Release], to_version: int | None) -> Release:
    """Return the release a rollback goes to: the version asked for, one half-way back already, or the last to serve.

    :raises StaleReleaseError: if there is none.
    """
    # What has served and is not newer than the champion can be gone back to; a "promoting" newer one is a deploy.
    served = [release for release in known if release.serving_at is not None and release.status != "removed"]
    if to_version is not None:
        fitting = [release for release in served if release.version == to_version]
    else:
        fitting = [release for release in served if release.status == "promoting"] or [
            release for release in served if release.status == "retired"
        ]
    if not fitting:
        raise StaleReleaseError(
            f"Nothing to roll back to: wanted {'the one before' if to_version is None else f'version {to_version}'}, "
            f"the champion is {champion.id if champion else 'none'}, versions that have served: "
            f"{[release.version for release in served]}."
        )
    return max(fitting, key=lambda release: str(release.serving_at))


def is_declared(state: State | None, champion: Release) -> bool:
    """Return whether a declared state is the champion's."""
    wanted = (champion.version, champion.model_uri, champion.sha256)
    return state is not None and (state.version, state.model_uri, state.sha256) == wanted


def has_acknowledged(answer: Mapping[str, Any], state: State) -> bool:
    """Return whether the endpoint's `/ping` says that it serves this very state."""
    loaded = answer.get("pipelines", {}).get(state.pipeline)
    return bool(loaded == {"version": state.version, "generation": state.generation})


def _put_forward(
    settings: Settings,
    release: Release,
    fence: int,
    *,
    timeout_seconds: float,
    by_itself: bool = False,
    rolled_back_because: str | None = None,
) -> str | None:
    state = _state_of(release, fence)
    declare(settings, state)
    why, is_refused = _wait_until_acknowledged(settings.endpoint_url, state, timeout_seconds)
    if why:
        # What the endpoint cannot load it never will; what it has not answered may succeed at the next try.
        becomes = "retired" if rolled_back_because is not None else "failed" if is_refused else "approved"
        _undo(settings, release, fence, note=f"The endpoint did not acknowledge it: {why}", becomes=becomes)
        raise EndpointError(
            f"The endpoint at {settings.endpoint_url} did not acknowledge {release.id} (generation {fence}) within "
            f"{timeout_seconds:g} s: {why}. The champion before stays. Look at the endpoint's log, then deploy again."
        )
    with open_ledger(settings.ledger_url) as session:
        held = _held(session, release) if by_itself else None
        if held is None:
            _enter_champion(session, release, fence, rolled_back_because)
    if held:
        return _hold(settings, release, held)
    log.info("%s is the champion (generation %s).", release.id, fence)
    _point_alias(release)
    return None


def _enter_champion(session: Session, release: Release, fence: int, rolled_back_because: str | None) -> None:
    before = releases.champion_of(session, release.pipeline)
    becomes = "retired" if rolled_back_because is None else "rolled_back"
    releases.finish_promotion(session, release.id, fence, predecessor_becomes=becomes)
    if before and rolled_back_because is not None:
        releases.get_release(session, before.id).note = rolled_back_because


def _held(session: Session, release: Release) -> str | None:
    if release.status == "champion":
        return None
    if held := pauses.pause_of(session, release.pipeline):
        return (
            f"{pauses.said(held)}. {release.id} waits: `sweep` wakes it after `evergreen resume`, or deploy it by hand."
        )
    if people.waits_for_approval(load_pipeline(release.pipeline), release):
        return f"{release.id} waits for a person's approval: answer in its `train` run, or deploy it by hand."
    return None


def _hold(settings: Settings, release: Release, held: str) -> str:
    """Let a release wait; a promotion that has begun (perhaps in a process that died) is undone."""
    if release.status == "promoting" and release.fence is not None and release.serving_at is None:
        _undo(settings, release, release.fence, note=release.note, becomes="approved")
    log.info("%s", held)
    return held


def _undo(settings: Settings, release: Release, fence: int, *, note: str, becomes: str) -> None:
    with open_ledger(settings.ledger_url) as session:
        if releases.get_release(session, release.id).fence != fence:
            return  # overtaken by a newer attempt, whose state it is now
        releases.give_up_promotion(session, release.id, note=note, becomes=becomes)
        champion = releases.champion_of(session, release.pipeline)
        if releases.newest_fence(session, release.pipeline) != fence:
            return  # a rollback is under way: what is to be served is its to say
        if champion:
            _declare_champion(settings, champion, releases.renew_fence(session, champion.id))
        else:
            withdraw(settings, release.pipeline, fence)


def _wait_until_acknowledged(url: str, state: State, timeout_seconds: float) -> tuple[str, bool]:
    # Returns what was last heard, if that is no acknowledgement, and whether it was a refusal.
    until = time.monotonic() + timeout_seconds
    while True:
        try:
            answer = httpx.get(f"{url}/ping", timeout=2, trust_env=False).json()
            if has_acknowledged(answer, state):
                return "", False
            refusal = answer.get("errors", {}).get(state.pipeline, "")
            heard = refusal or f"it serves {answer.get('pipelines')}"
        except (httpx.HTTPError, ValueError) as error:
            heard, refusal = f"{type(error).__name__}: {error}", ""
        if time.monotonic() >= until:
            return heard, bool(refusal)
        time.sleep(POLL_SECONDS)


def _declare_champion(settings: Settings, champion: Release, fence: int) -> None:
    declare(settings, _state_of(champion, fence))


def _state_of(release: Release, fence: int) -> State:
    return State(
        pipeline=release.pipeline,
        generation=fence,
        version=release.version,
        model_uri=release.model_uri,
        sha256=release.sha256,
    )


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
