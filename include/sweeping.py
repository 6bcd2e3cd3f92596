"""This file finds what events have missed, and puts right what crashes have left."""

from collections.abc import Callable, Sequence
from typing import Any

from include import deployment, lake
from include.ledger import nights, open_ledger, releases, requests


def late_rows(stage: str, pipeline_names: list[str], patience_seconds: float) -> dict[str, list[str]]:
    """Return, by pipeline, the ids of rows that this stage should have taken up by now."""
    waiting: Callable[..., Sequence[Any]] = {
        "monitor": nights.waiting_publications,
        "train": requests.open_requests,
        "deploy": releases.waiting_releases,
    }[stage]
    with open_ledger() as session:
        rows = {name: waiting(session, name, older_than_seconds=patience_seconds) for name in pipeline_names}
    return {name: [row.id for row in late] for name, late in rows.items() if late}


def reconcile(pipeline_names: list[str], claim_hours: float) -> None:
    """Give up requests whose run is gone; make endpoint state and registry alias say what the ledger says."""
    for name in pipeline_names:
        with open_ledger() as session:
            requests.abandon_claims(session, name, older_than_hours=claim_hours)
        deployment.reconcile(name)


def expire(pipeline_names: list[str], keep_days: int) -> dict[str, Any]:
    """Remove snapshots and staged files that nothing needs any more, and return what went, by pipeline."""
    return {name: lake.expire(name, keep_days) for name in pipeline_names}
