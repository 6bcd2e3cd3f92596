"""This file answers one request: by which version, from which columns, and what is to be kept of it."""

import difflib
import logging
import math
import random
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import numpy.typing as npt

from include.artefact import predict
from include.errors import BadRequestError, BadValueError
from include.pipeline import ANSWER_ID
from include.serving.capture import Captured
from include.serving.formats import JSON, Format
from include.serving.instances import read_instances
from include.serving.model import Models, Served, Service

log = logging.getLogger(__name__)

_FEW = 16  # answers so few are looked at faster without an array


@dataclass(slots=True)  # as Captured
class Answered:
    """The answer to a request, what is to be kept of it, and the version that failed to answer it first, if one did."""

    content: bytes
    captured: Captured
    failed: int | None = None


def answer(service: Service, body: bytes, form: Format = JSON) -> Answered:
    """Return the answer to a request's body by the version that its key belongs to.

    What a challenger cannot answer the champion does: nobody is worse off for being among the first.

    :raises BadRequestError: naming the field and the row.
    """
    rows = form.rows_of(body)
    chosen = service.answering(rows[0].get(service.champion.key))
    if chosen is service.champion:
        return _answer(chosen, rows, form)
    try:
        return _answer(chosen, rows, form)
    except Exception as error:  # noqa: BLE001  what the champion refuses, too, is raised below
        answered = _answer(service.champion, rows, form)
        log.warning("%s: version %s failed where the champion did not: %r", chosen.pipeline, chosen.version, error)
        return replace(answered, failed=chosen.version)


def _answer(served: Served, rows: list[dict[str, Any]], form: Format) -> Answered:
    asked = read_instances(rows, key=served.key, day=served.date, features=served.features)
    try:
        predictions = predict(served.session, asked.columns, served.features, is_strict=True)
    except BadValueError as error:
        raise BadRequestError(str(error), field=error.field, row=error.row) from error
    _check_finite(predictions)
    answers = served.task.answers(predictions)
    captured = Captured(
        pipeline=served.pipeline,
        version=served.version,
        key=served.key,
        features=served.features,
        task=served.task,
        at=datetime.now(UTC),
        ids=[f"{random.getrandbits(128):032x}" for _ in answers],  # noqa: S311 - names, no secrets
        keys=asked.keys,
        days=asked.days,
        columns=asked.columns,
        answers=answers,
    )
    said = [
        {ANSWER_ID: request_id, served.key: key, **each}
        for request_id, key, each in zip(captured.ids, captured.keys, answers, strict=True)
    ]
    return Answered(form.write(served, said), captured)


def choose(models: Models, pipeline: str | None) -> Service:
    """Return what is in service of a pipeline; without a name, of the only one there is.

    :raises BadRequestError: if nothing is, or nobody can know which one is meant.
    """
    if pipeline and (service := models.service(pipeline)):
        return service
    known = models.known()
    if pipeline is None:
        if len(known) > 1:
            raise BadRequestError(
                f"Several pipelines are served: ask /invocations/<one of {known}>.",
                status=400,
                reason="unknown_pipeline",
            )
        pipeline = known[0] if known else None
    if service := models.service(pipeline or ""):
        return service
    why = models.errors().get(pipeline or "")
    if why:
        raise BadRequestError(f"No model of '{pipeline}' is loaded: {why}", status=503)
    if pipeline and known:
        close = difflib.get_close_matches(pipeline[:80], known, n=1)
        hint = f" Did you mean '{close[0]}'?" if close else ""
        raise BadRequestError(f"No pipeline '{pipeline[:80]}' is served here.{hint} Served: {known}.", status=404)
    raise BadRequestError("No model is loaded yet: none has been deployed.", status=503)


def _check_finite(predictions: npt.NDArray[np.float32]) -> None:
    if len(predictions) < _FEW and all(map(math.isfinite, predictions.ravel().tolist())):
        return  # as almost always, in a tenth of the time
    wrong = ~np.isfinite(predictions).reshape(len(predictions), -1).all(axis=1)
    if wrong.any():
        row = int(np.argmax(wrong))
        raise BadRequestError(
            f"The model has no answer to row {row}: its numbers are beyond what it can compute with.", row=row
        )
