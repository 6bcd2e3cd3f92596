"""This file finds out what a repair really gained on the days after it, so that promises can be judged."""

import logging
from collections.abc import Sequence
from typing import Any

from include import artefact
from include.errors import ArtefactError
from include.evaluation import paired_interval
from include.ledger import Release, Request, nights, open_ledger, releases, requests
from include.pipeline import Pipeline
from include.policy import Gate
from include.repairs.estimate import LOSS
from include.repairs.recent import in_common_terms, read_labelled, read_model

log = logging.getLogger(__name__)


def note_outcomes(pipeline: Pipeline) -> None:
    """Write beside each repair whose days after are known what it gained over the version that it replaced, once.

    Both versions are asked about the same days as they were at that moment; what was done later is not counted.
    """
    window = pipeline.governor.repairs.window_days
    with open_ledger() as session:
        known = nights.labelled_days(session, pipeline.name)
        waiting = [
            (request, release, after)
            for request, release in requests.repairs_without_outcome(session, pipeline.name)
            if len(after := [day for day in known if day > request.detail.get("newest_day", release.judged_until)])
            >= window
        ]
        before = {
            release.id: releases.get_release(session, f"{pipeline.name}.v{release.compared_with}")
            for _, release, _ in waiting
        }
    for request, release, after in waiting:
        outcome = _outcome(pipeline, request, release, before[release.id], after[:window])
        with open_ledger() as session:
            session.get_one(Request, request.id).outcome = outcome
        log.info("%s: %s", request.id, outcome)


def _outcome(pipeline: Pipeline, request: Request, new: Release, old: Release, days: Sequence[str]) -> dict[str, Any]:
    promised = [each for each in request.detail.get("repairs", []) if each["action"] == request.repair]
    promise = max((each["share"] for each in promised), default=None)
    try:
        models = {name: read_model(each.model_uri, each.sha256) for name, each in (("new", new), ("old", old))}
    except ArtefactError as error:
        return {"why": f"What it gained cannot be known: {error}", "promised": promise}
    columns = sorted({name for model in models.values() for name in artefact.features_of(model.manifest).names})
    rows = read_labelled(pipeline, days, columns, rows_per_day=pipeline.monitoring.sample_rows)
    asked = {name: (model.task, model.answer(rows, corrected=True)) for name, model in models.items()}
    task, labels, answers = in_common_terms(rows, asked, models["new"].task)
    policy = Gate(metric=LOSS[task.name], confidence=pipeline.gate.confidence)
    dates = rows[pipeline.date].to_numpy(zero_copy_only=False).astype(str)
    found = paired_interval(labels, answers["new"], answers["old"], dates, policy=policy)
    shares = {name: getattr(found, name) / found.old for name in ("gain", "low", "high")}
    return {**shares, "promised": promise, "loss": found.new, "loss_before": found.old, "days": [days[0], days[-1]]}
