"""This file takes retrain requests through their life: filed by hand, claimed by one run, given up."""

from typing import Any

from include.config import Pipeline
from include.ledger import open_ledger, requests


def file_by_hand(pipeline: Pipeline, run_key: str, params: dict[str, Any]) -> str:
    """File a person's request, once per run, and return its id."""
    reason = params.pop("reason")
    with open_ledger() as session:
        request = requests.file_request(
            session, pipeline.name, reason=reason, triggered_by="hand", key=run_key, detail=params
        )
        return request.id


def claim(request_id: str, run_key: str) -> bool:
    """Claim a request for a run; False if it is another run's, closed, or unknown."""
    with open_ledger() as session:
        return requests.claim_request(session, request_id, run_key) is not None


def give_up(request_id: str) -> None:
    """Close a request whose training failed, so that the governor may ask again."""
    with open_ledger() as session:
        requests.close_request(session, request_id, status="failed", note="The training run failed; see its log.")
