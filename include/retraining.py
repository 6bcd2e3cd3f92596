"""This file takes retrain requests through their life: filed by hand, claimed by one run, given up."""

from collections.abc import Mapping
from typing import Any

from include.ledger import open_ledger, requests
from include.pipeline import Pipeline


def claim(pipeline: Pipeline, request_id: str | None, run_key: str, form: Mapping[str, Any]) -> str | None:
    """Claim a request for a run and return its id; None if it is another run's, closed, or unknown.

    :param request_id: the request that woke the run; None in a run by hand, whose own request is filed first, once.
    :param form: what the trigger form holds: `reason`, and what to change for this training.
    """
    with open_ledger() as session:
        if request_id is None:
            detail = {name: value for name, value in form.items() if name != "reason"}
            request_id = requests.file_request(
                session, pipeline.name, reason=form["reason"], triggered_by="hand", key=run_key, detail=detail
            ).id
        return request_id if requests.claim_request(session, request_id, run_key) else None


def give_up(request_id: str) -> None:
    """Close a request whose training failed, so that the governor may ask again."""
    with open_ledger() as session:
        requests.close_request(session, request_id, status="failed", note="The training run failed; see its log.")
