"""This file turns messages from a queue into retrain requests; what cannot become one is put aside with the reason."""

import json
import logging
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from pydantic import Field, ValidationError
from sqlalchemy.orm import Session

from include.errors import BadMessageError
from include.ledger import alerts, open_ledger, requests
from include.partition import run_key_of
from include.policy import Days
from include.spelling import did_you_mean
from include.strict import Strict

log = logging.getLogger(__name__)

KEPT_CHARACTERS = 10_000


@dataclass(frozen=True)
class Message:
    """A message as a queue delivers it, perhaps more than once.

    :param id: the queue's own name for it.
    :param receipt: what the queue wants to hear when it is done with.
    """

    id: str
    body: str
    receipt: str


class Wish(Strict):
    """What a message asks for: the JSON object that senders write."""

    reason: str = Field(min_length=3, max_length=1000)
    pipeline: str | None = None
    id: str | None = Field(None, pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,79}$")
    window_days: Days | None = None
    epochs: int | None = Field(None, ge=1)


def take(queue: str, pipeline_names: Collection[str], messages: Iterable[Message]) -> dict[str, list[str]]:
    """File what messages ask for, all in one transaction, and return the open requests to be woken, by pipeline.

    A message delivered or sent twice files one request: its own `id` names it, or else the queue's. One that cannot be
    read is kept as an alert, with its text and the reason; the queue may forget it, too.

    :param pipeline_names: those that listen to this queue.
    """
    woken: dict[str, list[str]] = {}
    with open_ledger() as session:
        for message in messages:
            try:
                name, request_id = _file(session, pipeline_names, message)
            except BadMessageError as error:
                _put_aside(session, queue, message, str(error))
            else:
                woken.setdefault(name, []).append(request_id)
        still_open = {row.id for name in woken for row in requests.open_requests(session, name, older_than_seconds=0)}
    return {name: [each for each in dict.fromkeys(ids) if each in still_open] for name, ids in woken.items()}


def read(body: str, pipeline_names: Collection[str]) -> tuple[str, Wish]:
    """Return which pipeline a message is for, and what it asks for.

    :raises BadMessageError: saying what was found, what is expected, and which name was probably meant.
    """
    try:
        wish = Wish.model_validate_json(body)
    except ValidationError as error:
        raise BadMessageError(_explain(error)) from error
    name = wish.pipeline or (next(iter(pipeline_names)) if len(pipeline_names) == 1 else None)
    if name is None:
        raise BadMessageError(f"'pipeline' is missing: several listen to this queue: {', '.join(pipeline_names)}.")
    if name not in pipeline_names:
        raise BadMessageError(
            f"'pipeline': no pipeline '{name}' listens to this queue. Those that do: {', '.join(pipeline_names)}."
            f"{did_you_mean(name, pipeline_names)}"
        )
    return name, wish


def _file(session: Session, pipeline_names: Collection[str], message: Message) -> tuple[str, str]:
    name, wish = read(message.body, pipeline_names)
    asked = {key: value for key, value in (("window_days", wish.window_days), ("epochs", wish.epochs)) if value}
    request = requests.file_request(
        session,
        name,
        reason=wish.reason,
        triggered_by="message",
        key=wish.id or run_key_of(message.id),
        detail={**asked, "message_id": message.id},
    )
    return name, request.id


def _put_aside(session: Session, queue: str, message: Message, why: str) -> None:
    text = f"Message {message.id} of queue '{queue}' asks for nothing that can be done, and was put aside. {why}"
    log.error("%s", text)
    kept = {"body": message.body[:KEPT_CHARACTERS], "characters": len(message.body)}
    alerts.raise_alert(session, "message", f"{queue}.{message.id}", pipeline="", text=text, detail=kept)


def _explain(error: ValidationError) -> str:
    lines = []
    for problem in error.errors(include_url=False):
        key = ".".join(str(part) for part in problem["loc"]) or "(whole message)"
        guess = did_you_mean(key, Wish.model_fields) if problem["type"] == "extra_forbidden" else ""
        found = "" if problem["type"] == "missing" else f" (got {json.dumps(problem['input'], default=str)[:200]})"
        lines.append(f"'{key}': {problem['msg']}{found}.{guess}")
    lines.append('Expected is a JSON object such as {"pipeline": "flight_delays", "reason": "New carriers"}.')
    return " ".join(lines)
