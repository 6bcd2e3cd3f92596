"""This file puts a former champion back behind the endpoint, or ends what is tried beside the champion."""

import logging
from datetime import datetime, timedelta

from sqlalchemy.orm import Session

from include import promotion
from include.deployment import choose_target, rollback_in_words
from include.errors import EndpointError, StaleReleaseError
from include.going_back import Back, begun_back, stays_of
from include.ledger import Release, open_ledger, releases
from include.ledger.tables import now
from include.settings import load_settings

log = logging.getLogger(__name__)

# What served before may come back; "promoting" stands for a rollback that was killed half-way.
_REINSTATED_FROM = ("retired", "rolled_back", "promoting")
# Whoever waits for the endpoint has an answer long before.
_LEFT_AFTER = timedelta(minutes=5)


def version_before(pipeline_name: str, to_version: int | None = None) -> int:
    """Return the version a rollback goes to: the one asked for, the champion that another is tried beside, or the last.

    :raises StaleReleaseError: if it has never served.
    """
    with open_ledger() as session:
        champion = releases.champion_of(session, pipeline_name)
        if to_version is None and champion and releases.tried_beside(session, pipeline_name):
            return champion.version
        return choose_target(champion, releases.releases_of(session, pipeline_name), to_version).version


def told(pipeline_name: str, to_version: int) -> str:
    """Return in words what a rollback to a version is about to do."""
    with open_ledger() as session:
        return _told(session, pipeline_name, to_version)


def roll_back(pipeline_name: str, reason: str, to_version: int, *, timeout_seconds: float = 30.0) -> str:
    """Put a former champion back, or end what is tried beside this one, and return the release's id that serves then.

    May be repeated without harm. It overtakes a promotion that is under way.

    :raises StaleReleaseError: if there is no such release that has served before.
    :raises EndpointError: if the endpoint does not acknowledge in time; the champion stays.
    """
    settings = load_settings()
    with open_ledger(settings.ledger_url) as session:
        champion = releases.champion_of(session, pipeline_name)
        target = choose_target(champion, releases.releases_of(session, pipeline_name), to_version)
        is_done = champion is not None and target.id == champion.id
        log.info("%s", _told(session, pipeline_name, to_version))
        trial = releases.tried_beside(session, pipeline_name)
        for tried in trial:
            releases.give_up_promotion(session, tried.id, note=reason, becomes="rolled_back")
        back = Back(reason, stays=stays_of(target))
        fence = None if is_done else releases.begin_promotion(session, target.id, again_from=_REINSTATED_FROM)
        if fence is not None:  # for who finishes this one, if it is killed half-way
            begun = {"reason": reason, "at": now().isoformat(), "stays": back.stays}
            releases.keep_rollout(session, target.id, back=begun)
        target = releases.get_release(session, target.id)
    if fence is not None:
        promotion.put_forward(settings, target, fence, back=back, timeout_seconds=timeout_seconds)
        return target.id
    state = promotion.reconcile(pipeline_name, after_trial=bool(trial))
    if state and (why := promotion.wait_until_acknowledged(settings.endpoint_url, state, timeout_seconds)[0]):
        raise EndpointError(f"The endpoint at {settings.endpoint_url} did not acknowledge {target.id}: {why}.")
    return target.id


def finish_left(pipeline_name: str, *, timeout_seconds: float = 30.0) -> None:
    """Finish a rollback that was killed half-way some minutes ago: the endpoint may serve its target already.

    Where another version was put forward since, it is given up instead.
    """
    with open_ledger() as session:
        newest = releases.newest_fence(session, pipeline_name)
        promoting = releases.releases_of(session, pipeline_name, "promoting")
        left = [release for release in promoting if release.serving_at is not None and _is_left(release)]
        to_finish = [(each.version, begun_back(each).get("reason", "")) for each in left if each.fence == newest]
        for release_id, note, stays in [(each.id, each.note, stays_of(each)) for each in left if each.fence != newest]:
            releases.give_up_promotion(session, release_id, note=note, becomes=stays)
    for version, reason in to_finish:
        log.warning("%s: a rollback to v%s was left half-way; it is finished.", pipeline_name, version)
        try:
            roll_back(pipeline_name, reason, version, timeout_seconds=timeout_seconds)
        except (EndpointError, StaleReleaseError) as error:  # a person's deployment may overtake it
            log.warning("%s: the rollback to v%s came to nothing. %s", pipeline_name, version, error)


def _is_left(release: Release) -> bool:
    at = begun_back(release).get("at")
    return at is None or datetime.fromisoformat(at) <= now() - _LEFT_AFTER


def _told(session: Session, pipeline_name: str, to_version: int) -> str:
    champion, known = releases.champion_of(session, pipeline_name), releases.releases_of(session, pipeline_name)
    target = choose_target(champion, known, to_version)
    return rollback_in_words(champion, target, known, releases.tried_beside(session, pipeline_name))
