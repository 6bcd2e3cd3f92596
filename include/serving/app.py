"""This file is the endpoint: `/ping`, `/invocations`, `/metrics`; versions are swapped without a failed request."""

import asyncio
import difflib
import gc
import json
import logging
import math
import secrets
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.responses import RedirectResponse
from fastapi_offline import FastAPIOffline
from prometheus_client import CONTENT_TYPE_LATEST, Counter, Histogram, generate_latest
from starlette.exceptions import HTTPException

from include.artefact import predict
from include.errors import BadRequestError, BadValueError
from include.pipeline import ANSWER_ID
from include.serving.body import read_body
from include.serving.capture import Capture, Captured
from include.serving.contract import INVOCATION
from include.serving.gauges import LedgerGauges
from include.serving.instances import read_instances
from include.serving.metrics import Metrics
from include.serving.model import Models, Served
from include.serving.route import DirectRoute
from include.settings import Settings, load_settings

log = logging.getLogger(__name__)

INLINE_BODY_BYTES = 32 * 2**10  # a larger request is worked on in a thread, so that small ones need not wait for it
_FEW = 16  # answers so few are looked at faster without an array


class Endpoint:
    """What is loaded, what is captured and what is counted."""

    def __init__(self, settings: Settings) -> None:
        self.metrics = Metrics()
        self.metrics.registry.register(LedgerGauges(settings.ledger_url))
        self.models = Models(settings, self.metrics)
        self.capture = Capture(settings.lake, self.metrics)
        self._kept_counters: dict[tuple[str, int], tuple[Counter, Histogram]] = {}

    @asynccontextmanager
    async def lifespan(self, _app: FastAPI) -> AsyncIterator[None]:
        """Load what is declared before the first request; write what was captured after the last."""
        await asyncio.to_thread(self.models.start)
        self.capture.start()
        gc.freeze()  # what is loaded stays: to look through it for garbage again and again would hold up requests
        gc.set_threshold(20_000, 10, 10)  # a request leaves some 25 objects until it is captured, and no garbage
        yield
        await asyncio.to_thread(self.models.stop)
        await asyncio.to_thread(self.capture.stop)

    async def invoke(self, request: Request, pipeline: str | None) -> Response:
        """Answer one request, and keep what was asked."""
        name = pipeline if pipeline in self.models.known() else ""
        try:
            served = _choose(self.models, pipeline)
            name = served.state.pipeline
            body = await read_body(request)
            started = time.perf_counter()
            if len(body) <= INLINE_BODY_BYTES:
                content, captured = answer(served, body)
            else:
                content, captured = await asyncio.to_thread(answer, served, body)
        except BadRequestError as error:
            self.metrics.requests.labels(name, "unavailable" if error.status == 503 else "refused").inc()
            return _problem(str(error), field=error.field, row=error.row, status=error.status)
        except Exception:
            self.metrics.requests.labels(name, "failed").inc()
            log.exception("%s: a request failed.", name)
            return _problem("The prediction failed; the endpoint's log says why.", status=500)
        self.capture.put(captured)
        answered, latency = self._counters(name, captured.version)
        answered.inc()
        latency.observe(time.perf_counter() - started)
        headers = {"X-Evergreen-Version": str(captured.version)}
        return Response(content, media_type="application/json", headers=headers)

    def _counters(self, pipeline: str, version: int) -> tuple[Counter, Histogram]:
        counters = self._kept_counters.get(
            (pipeline, version)
        )  # to look them up by labels takes twice what counting does
        if counters is None:
            answered, latency = self.metrics.requests.labels(pipeline, "answered"), self.metrics.latency
            counters = self._kept_counters[pipeline, version] = (answered, latency.labels(pipeline, version))
        return counters


def create_app(settings: Settings | None = None) -> FastAPI:
    """Build the endpoint; `uvicorn --factory include.serving.app:create_app` serves it."""
    endpoint = Endpoint(settings or load_settings())
    app = FastAPIOffline(title="Evergreen endpoint", lifespan=endpoint.lifespan)
    app.state.endpoint = endpoint

    @app.exception_handler(HTTPException)
    async def refuse(request: Request, error: HTTPException) -> Response:
        """Say in the same words as elsewhere that there is no such page, or not by that method."""
        message = f"{request.method[:20]} {request.url.path[:80]}: {error.detail}. Ask POST /invocations/<pipeline>."
        return _problem(message, status=error.status_code, headers=error.headers)

    @app.get("/", include_in_schema=False)
    async def index() -> Response:
        """Show who looks here with a browser what can be asked."""
        return RedirectResponse("/docs")

    @app.get("/ping")
    async def ping() -> Response:
        """Say that the endpoint lives, what it serves, and which declared state it cannot serve."""
        return _json(_ping_body(endpoint.models))

    @app.get("/metrics")
    async def metrics() -> Response:
        """Give counters and gauges in Prometheus' format; who waits for the ledger waits beside the requests."""
        page = await asyncio.to_thread(generate_latest, endpoint.metrics.registry)
        return Response(page, media_type=CONTENT_TYPE_LATEST)

    asked = APIRouter(route_class=DirectRoute)

    @asked.post("/invocations", **INVOCATION)
    async def invoke_only(request: Request) -> Response:
        """Predict for each of `instances`, where only one pipeline is served."""
        return await endpoint.invoke(request, None)

    @asked.post("/invocations/{pipeline}", **INVOCATION)
    async def invoke(request: Request, pipeline: str) -> Response:
        """Predict for each of `instances` with the named pipeline's model."""
        return await endpoint.invoke(request, pipeline)

    app.include_router(asked)
    app.router.routes.sort(key=lambda route: not isinstance(route, DirectRoute))  # looked through from the first on
    return app


def answer(served: Served, body: bytes) -> tuple[bytes, Captured]:
    """Return the answer to a request's body, and what is to be kept of it.

    :raises BadRequestError: naming the field and the row.
    """
    asked = read_instances(body, key=served.key, day=served.date, features=served.features)
    try:
        predictions = predict(served.session, asked.columns, served.features, is_strict=True)
    except BadValueError as error:
        raise BadRequestError(str(error), field=error.field, row=error.row) from error
    _check_finite(predictions)
    answers = served.task.answers(predictions)
    captured = Captured(
        pipeline=served.state.pipeline,
        version=served.state.version,
        key=served.key,
        features=served.features,
        task=served.task,
        at=datetime.now(UTC),
        ids=[secrets.token_hex(16) for _ in answers],
        keys=asked.keys,
        days=asked.days,
        columns=asked.columns,
        answers=answers,
    )
    rows = [
        {ANSWER_ID: request_id, served.key: key, **said}
        for request_id, key, said in zip(captured.ids, captured.keys, answers, strict=True)
    ]
    content = {"pipeline": captured.pipeline, "version": captured.version, "predictions": rows}
    return msgspec.json.encode(content), captured


def _check_finite(predictions: npt.NDArray[np.float32]) -> None:
    if len(predictions) < _FEW and all(map(math.isfinite, predictions.ravel().tolist())):
        return  # as almost always, in a tenth of the time
    wrong = ~np.isfinite(predictions).reshape(len(predictions), -1).all(axis=1)
    if wrong.any():
        row = int(np.argmax(wrong))
        raise BadRequestError(
            f"The model has no answer to row {row}: its numbers are beyond what it can compute with.", row=row
        )


def _choose(models: Models, pipeline: str | None) -> Served:
    known = models.known()
    if pipeline is None:
        if len(known) > 1:
            raise BadRequestError(f"Several pipelines are served: ask /invocations/<one of {known}>.", status=400)
        pipeline = known[0] if known else None
    served = models.served(pipeline) if pipeline else None
    if served:
        return served
    why = models.errors().get(pipeline or "")
    if why:
        raise BadRequestError(f"No model of '{pipeline}' is loaded: {why}", status=503)
    if pipeline and known:
        close = difflib.get_close_matches(pipeline[:80], known, n=1)
        hint = f" Did you mean '{close[0]}'?" if close else ""
        raise BadRequestError(f"No pipeline '{pipeline[:80]}' is served here.{hint} Served: {known}.", status=404)
    raise BadRequestError("No model is loaded yet: none has been deployed.", status=503)


def _ping_body(models: Models) -> dict[str, Any]:
    states = [served.state for name in models.known() if (served := models.served(name))]
    loaded = {state.pipeline: {"version": state.version, "generation": state.generation} for state in states}
    return {"pipelines": loaded, "errors": models.errors()}


def _problem(
    message: str,
    *,
    status: int,
    field: str | None = None,
    row: int | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    return _json({"error": message, "field": field, "row": row}, status=status, headers=headers)


def _json(content: dict[str, Any], *, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return Response(json.dumps(content), status_code=status, headers=headers, media_type="application/json")
