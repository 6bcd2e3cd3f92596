"""This file takes retrain requests through their life: filed by hand, claimed by one run, given up."""

import logging
from collections.abc import Mapping
from typing import Any

from sqlalchemy.orm import Session

from include import people
from include.errors import AlreadyOnItsWayError
from include.ledger import Request, open_ledger, pauses, requests
from include.pipeline import Pipeline

log = logging.getLogger(__name__)


def claim(pipeline: Pipeline, request_id: str | None, run_key: str, form: Mapping[str, Any]) -> str | None:
    """Claim a request for a run and return its id; None if it is another run's, closed, unknown, or held by a pause.

    What a person has asked for is claimed during a pause, too.

    :param request_id: the request that woke the run; None in a run by hand, whose own request is filed first, once.
    :param form: what the trigger form holds: `reason`, `force`, what to change for this training; and `by`, who it was.
    :raises AlreadyOnItsWayError: by hand and without `force`, while another request is open or worked on.
    """
    with open_ledger() as session:
        if request_id is None:
            request_id = _file_by_hand(session, pipeline.name, run_key, form)
        if held := requests.held_back(session, request_id):
            log.info("%s stays open. %s", request_id, pauses.said(held))
            return None
        request = requests.claim_request(session, request_id, run_key)
        if request and people.is_refused(request):
            requests.forget_review(session, request_id)
    return request_id if request else None


def _file_by_hand(session: Session, name: str, run_key: str, form: Mapping[str, Any]) -> str:
    others = requests.unfinished_requests(session, name)
    is_filed = session.get(Request, f"{name}.hand.{run_key}") is not None
    if others and not is_filed and not form.get("force"):
        whose = f"{others[0].status} by {others[0].claimed_by}" if others[0].claimed_by else others[0].status
        reason = others[0].reason.removesuffix(".")
        raise AlreadyOnItsWayError(
            f"{others[0].id} is on its way already ({whose}): {reason}. Wait for it; or start again with "
            "'force', which trains one more beside it."
        )
    detail = {key: value for key, value in form.items() if key not in {"reason", "force"} and value is not None}
    request = requests.file_request(
        session, name, reason=form["reason"], triggered_by="hand", key=run_key, detail=detail
    )
    return request.id


def hold_back(request_id: str) -> str | None:
    """Return why a claimed request must not start its training now, and open it again; None if it may start."""
    with open_ledger() as session:
        held = requests.held_back(session, request_id)
        if held is None:
            return None
        why = pauses.said(held)
        requests.release_claim(session, request_id)
    return f"{why}. {request_id} is open again: `sweep` wakes a new run for it after `evergreen resume`."


def give_up(request_id: str) -> None:
    """Close a request whose training failed, so that the governor may ask again."""
    with open_ledger() as session:
        requests.close_request(session, request_id, status="failed", note="The training run failed; see its log.")
