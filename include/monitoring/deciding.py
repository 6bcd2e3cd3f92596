"""This file asks the governor about a publication, files the request it wants, and writes its word down."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

from sqlalchemy.orm import Session

from include.errors import PublishError
from include.ledger import (
    Decision,
    Partition,
    Publication,
    Release,
    Request,
    Window,
    alerts,
    jobs,
    nights,
    open_ledger,
    pauses,
    releases,
    requests,
)
from include.ledger.tables import now
from include.monitoring import governor
from include.monitoring.situation import Champion, Judgement, Served, Situation
from include.pipeline import Pipeline
from include.recipe import Training
from include.repairs.estimate import Estimate

log = logging.getLogger(__name__)

ON_THEIR_WAY = ("candidate", "approved", "promoting")


def decide(pipeline: Pipeline, publication_id: str) -> Decision:
    """Return the decision on a publication: request filed, decision and publication closed in one transaction, once."""
    promised = _promises(pipeline, publication_id)
    with open_ledger() as session:
        publication = session.get(Publication, publication_id)
        if publication is None:
            raise PublishError(f"There is no publication '{publication_id}' in the ledger; ingest announces them.")
        decision = session.get(Decision, publication_id)
        if decision is None:
            judgement = governor.decide(_situation(session, pipeline, publication, promised), pipeline.governor)
            judgement, request = _file(session, pipeline, publication, judgement)
            if judgement.limit:
                # Once a month: who was told and did nothing is reminded.
                about = f"{pipeline.name}.{judgement.limit}.{max(publication.days)[:7]}"
                alerts.raise_alert(session, "limit", about, pipeline=pipeline.name, text=judgement.reason)
            decision = nights.record_decision(
                session,
                Decision(
                    publication_id=publication_id,
                    pipeline=pipeline.name,
                    action=judgement.action,
                    reason=judgement.reason,
                    evidence=judgement.evidence,
                    request_id=request.id if request else None,
                ),
            )
        nights.finish_publication(session, publication_id)
    log.info("%s: %s. %s", publication_id, decision.action, decision.reason)
    return decision


def _promises(pipeline: Pipeline, publication_id: str) -> list[Estimate]:
    """Return what repairs promise, where the governor will want to know: that takes seconds, and imports."""
    with open_ledger() as session:
        publication = session.get(Publication, publication_id)
        if publication is None or publication.status == "done":
            return []
        measured = {window.day for window in nights.windows_of(session, pipeline.name)}
        if not measured & set(publication.days) or requests.unfinished_requests(session, pipeline.name):
            return []
    # Imported here: only where something was served.
    from include.repairs.estimating import estimates  # noqa: PLC0415
    from include.repairs.outcomes import note_outcomes  # noqa: PLC0415

    note_outcomes(pipeline)
    return estimates(pipeline)


def _situation(
    session: Session, pipeline: Pipeline, publication: Publication, promised: Sequence[Estimate]
) -> Situation:
    champion = releases.champion_of(session, pipeline.name)
    measured = nights.windows_of(session, pipeline.name)
    partitions = nights.partitions_of(session, pipeline.name)
    unfinished = [request.id for request in requests.unfinished_requests(session, pipeline.name)]
    unfinished += [release.id for release in releases.releases_of(session, pipeline.name, *ON_THEIR_WAY)]
    return Situation(
        champion=champion_as_judged(champion, pipeline.governor.metric),
        windows=tuple(served_of(window) for window in measured if champion and window.version == champion.version),
        served_days=tuple(sorted({window.day for window in measured} & set(publication.days))),
        unfinished=tuple(unfinished),
        published_rows=_rows_to_learn_from(partitions, pipeline.training),
        needed_rows=pipeline.training.min_rows,
        newest_day=max(publication.days),
        last_tried=last_tried(session, pipeline.name, "retrain"),
        last_repaired=last_tried(session, pipeline.name, "recalibrate", "reinstate"),
        failures=_failures(session, pipeline.name, champion),
        **_costs(session, pipeline.name),
        estimates=tuple(promised),
        paused=pauses.said(held) if (held := pauses.pause_of(session, pipeline.name)) else "",
    )


def last_tried(session: Session, pipeline_name: str, *repairs: str) -> str:
    """Return the newest day that a request for one of these repairs named and that came to nothing; empty if none."""
    fruitless = requests.fruitless_requests(session, pipeline_name)
    return max((row.detail.get("newest_day", "") for row in fruitless if row.repair in repairs), default="")


def _failures(session: Session, pipeline_name: str, champion: Release | None) -> int:
    fruitless = requests.fruitless_requests(session, pipeline_name)
    since = champion.at if champion else None
    return sum(row.repair == "retrain" and (since is None or row.at > since) for row in fruitless)


def _costs(session: Session, pipeline_name: str) -> dict[str, Any]:
    """Return what trainings that were asked for by themselves have cost lately, and which those were."""
    trainings = [row for row in requests.all_requests(session, pipeline_name) if row.repair == "retrain"]
    asked = [row for row in trainings if row.triggered_by != "hand"]
    made = {row.request_id: row.metrics.get("seconds", 0.0) for row in releases.releases_of(session, pipeline_name)}
    # A platform's job is paid for whatever comes of it; where trainings run here, only a model knows how long it took.
    hours = {row.id: (jobs.seconds_of_request(session, row.id) or made.get(row.id, 0.0)) / 3600 for row in trainings}
    since = now() - timedelta(days=30)
    return {
        "trained_on": tuple(row.detail["newest_day"] for row in asked if "newest_day" in row.detail),
        "spent_hours": sum(hours[row.id] for row in asked if row.at >= since),
        "hours_each": next((hours[row.id] for row in reversed(trainings) if hours[row.id]), 0.0),
    }


def _rows_to_learn_from(partitions: Sequence[Partition], training: Training) -> int:
    """Return the labelled rows of the window that a training today would learn from."""
    published = {
        date.fromisoformat(row.day): row.labelled for row in partitions if row.status == "published" and row.labelled
    }
    if not published:
        return 0
    holdout_from = max(published) - timedelta(days=training.holdout_days - 1)
    window_from = holdout_from - timedelta(days=training.window_days)
    return sum(rows for day, rows in published.items() if window_from <= day < holdout_from)


def champion_as_judged(release: Release | None, metric: str) -> Champion | None:
    """Return what the governor looks at in the serving release."""
    if release is None:
        return None
    trained_until = release.metrics.get("trained_until", "")
    return Champion(release.version, release.metrics.get(metric), release.judged_until, trained_until)


def served_of(window: Window) -> Served:
    """Return what the governor looks at in a measured window."""
    columns = window.measures.get("drift", {}).get("columns", {})
    drifted = [(name, found["effect"]) for name, found in columns.items() if found["state"] == "drifted"]
    return Served(
        day=window.day,
        rows=window.rows,
        labelled=window.labelled,
        quality=window.quality,
        drifted_share=window.drifted_share,
        drifted=tuple(sorted(drifted, key=lambda pair: -pair[1])),
    )


def _file(
    session: Session, pipeline: Pipeline, publication: Publication, judgement: Judgement
) -> tuple[Judgement, Request | None]:
    if judgement.action == "nothing":
        return judgement, None
    newest = max(publication.days)
    first_id = f"{pipeline.name}.first.model"
    # The first model is asked for once; only if that came to nothing, once more per newest day.
    is_first = judgement.triggered_by == "first" and session.get(Request, first_id) is None
    request = requests.file_request(
        session,
        pipeline.name,
        reason=judgement.reason,
        triggered_by=judgement.triggered_by,
        key="model" if is_first else newest,
        detail={
            **judgement.evidence,
            "publication_id": publication.id,
            "newest_day": newest,
            **({"version": judgement.version} if judgement.version else {}),
        },
        repair=judgement.action,
    )
    if request.closed_at is None:
        return judgement, request
    reason = f"{judgement.reason} But {request.id} has asked for that already and is {request.status}: {request.note}"
    return replace(judgement, action="nothing", reason=reason, triggered_by=""), None
