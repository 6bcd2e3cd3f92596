"""This file is the endpoint: `/ping`, `/invocations`, `/metrics`; versions are swapped without a failed request."""

import asyncio
import difflib
import json
import logging
import math
import time
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.responses import RedirectResponse
from fastapi_offline import FastAPIOffline
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.exceptions import HTTPException

from include.artefact import predict
from include.errors import BadRequestError, BadValueError
from include.pipeline import ANSWER_ID
from include.serving.access_log import AccessLog
from include.serving.admission import Admission
from include.serving.body import read_body
from include.serving.capture import Capture, Captured
from include.serving.contract import INVOCATION
from include.serving.gauges import LedgerGauges
from include.serving.instances import read_instances, rows_of
from include.serving.limits import endpoint_limits
from include.serving.metrics import Metrics
from include.serving.model import Models, Served, Service
from include.serving.route import DirectRoute
from include.serving.shadow import Shadow
from include.serving.threads import Threads
from include.serving.visits import Visit, Visits, visit_of
from include.serving.workers import Worker, call_the_roll
from include.settings import Settings, load_settings

log = logging.getLogger(__name__)

INLINE_BODY_BYTES = 32 * 2**10  # a larger request is worked on in a thread, so that small ones need not wait for it
_FEW = 16  # answers so few are looked at faster without an array


class Endpoint:
    """What is loaded, what is captured and what is counted."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.metrics = Metrics()
        self.gauges = LedgerGauges(settings.ledger_url)
        self.models = Models(settings, self.metrics, self._tell)
        self.capture = Capture(settings.lake, self.metrics)
        self.shadow = Shadow(settings.lake, self.metrics, self.capture)
        self._worker: Worker | None = None
        limits = endpoint_limits()
        self.admission = Admission(settings, self.metrics)
        self.access_log = AccessLog(settings.data / "logs", limits.access_log_mb)
        self.threads = Threads(limits.large_at_once, limits.compute_seconds)

    @asynccontextmanager
    async def lifespan(self, _app: FastAPI) -> AsyncIterator[None]:
        """Load what is declared before the first request; write what was captured after the last."""
        self._worker = Worker(self.settings)
        await asyncio.to_thread(self.models.start)
        self.capture.start()
        self.shadow.start()
        self.access_log.start()
        yield
        await asyncio.to_thread(self.access_log.stop)
        await asyncio.to_thread(self.models.stop)
        await asyncio.to_thread(self.shadow.stop)
        await asyncio.to_thread(self.capture.stop)
        self._worker.leave()

    async def invoke(self, request: Request, pipeline: str | None) -> Response:
        """Answer one request, and keep what was asked."""
        visit = visit_of(request)
        visit.pipeline = name = pipeline if pipeline and pipeline in self.models.known() else ""
        try:
            await self.admission.admit(request, pipeline)
            service = _choose(self.models, pipeline)
            visit.pipeline = name = service.state.pipeline
            body = await read_body(request)
            started = time.perf_counter()
            if len(body) <= INLINE_BODY_BYTES:
                answered = answer(service, body)
            else:
                answered = await self.threads.run(answer, service, body)
        except BadRequestError as error:
            visit.reason = error.reason
            self.metrics.requests.labels(name, "unavailable" if error.status == 503 else "refused").inc()
            return _problem(str(error), field=error.field, row=error.row, status=error.status, headers=error.headers)
        except Exception:
            self.metrics.requests.labels(name, "failed").inc()
            log.exception("%s: a request failed.", name)
            return _problem("The prediction failed; the endpoint's log says why.", status=500)
        return self._note(visit, service, answered, time.perf_counter() - started)

    def _note(self, visit: Visit, service: Service, answered: "Answered", seconds: float) -> Response:
        captured = answered.captured
        self.capture.put(captured)
        visit.answered(captured.version, captured.ids)
        if service.shadow:
            self.shadow.put(service.shadow, captured)
        if answered.failed is not None:
            self.metrics.failures.labels(captured.pipeline, answered.failed).inc()
        self.metrics.requests.labels(captured.pipeline, "answered").inc()
        self.metrics.latency.labels(captured.pipeline, captured.version).observe(seconds)
        headers = {"X-Evergreen-Version": str(captured.version)}
        return Response(answered.content, media_type="application/json", headers=headers)

    def ping(self) -> dict[str, Any]:
        """Return what this process serves, what it cannot, and what each of the processes says."""
        workers = call_the_roll(self.settings, self.metrics.forget)
        told = {"pipelines": self.models.as_told(), "errors": self.models.errors(), "workers": workers}
        return told | ({"capture": self.capture.problem} if self.capture.problem else {})

    def _tell(self, models: Models) -> None:
        if self._worker:
            self._worker.tell(models.as_told(), models.errors())


def create_app(settings: Settings | None = None) -> FastAPI:
    """Build the endpoint; `uvicorn --factory include.serving.app:create_app` serves it."""
    endpoint = Endpoint(settings or load_settings())
    app = FastAPIOffline(title="Evergreen endpoint", lifespan=endpoint.lifespan)
    app.state.endpoint = endpoint
    app.add_middleware(Visits, metrics=endpoint.metrics, access_log=endpoint.access_log)

    @app.exception_handler(HTTPException)
    async def refuse(request: Request, error: HTTPException) -> Response:
        """Say in the same words as elsewhere that there is no such page, or not by that method."""
        visit_of(request).reason = "no_page"
        message = f"{request.method[:20]} {request.url.path[:80]}: {error.detail}. Ask POST /invocations/<pipeline>."
        return _problem(message, status=error.status_code, headers=error.headers)

    @app.get("/", include_in_schema=False)
    async def index() -> Response:
        """Show who looks here with a browser what can be asked."""
        return RedirectResponse("/docs")

    @app.get("/metrics")
    async def metrics() -> Response:
        """Give counters and gauges in Prometheus' format; who waits for the ledger waits beside the requests."""
        page = await asyncio.to_thread(endpoint.metrics.page, endpoint.gauges)
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

    _add_health(app, endpoint)
    app.include_router(asked)
    app.router.routes.sort(key=lambda route: not isinstance(route, DirectRoute))  # looked through from the first on
    return app


def _add_health(app: FastAPI, endpoint: Endpoint) -> None:
    @app.get("/ping")
    async def ping() -> Response:
        """Say what is served, which declared state cannot be, and what each process of this endpoint says."""
        return _json(await asyncio.to_thread(endpoint.ping))

    @app.get("/live")
    async def live() -> Response:
        """Say that this process answers; if it does not, start it again."""
        return _json({"live": True})

    @app.get("/ready")
    async def ready() -> Response:
        """Say whether requests may come: 503 before anything that is declared can be served."""
        is_ready = bool(endpoint.models.as_told()) or not endpoint.models.errors()
        return _json({"ready": is_ready, "errors": endpoint.models.errors()}, status=200 if is_ready else 503)


@dataclass(frozen=True)
class Answered:
    """The answer to a request, what is to be kept of it, and the version that failed to answer it first, if one did."""

    content: bytes
    captured: Captured
    failed: int | None = None


def answer(service: Service, body: bytes) -> Answered:
    """Return the answer to a request's body by the version that its key belongs to.

    What a challenger cannot answer the champion does: nobody is worse off for being among the first.

    :raises BadRequestError: naming the field and the row.
    """
    rows = rows_of(body)
    chosen = service.answering(rows[0].get(service.champion.key))
    if chosen is service.champion:
        return _answer(chosen, rows)
    try:
        return _answer(chosen, rows)
    except Exception as error:  # noqa: BLE001  what the champion refuses, too, is raised below
        answered = _answer(service.champion, rows)
        log.warning("%s: version %s failed where the champion did not: %r", chosen.pipeline, chosen.version, error)
        return replace(answered, failed=chosen.version)


def _answer(served: Served, rows: list[dict[str, Any]]) -> Answered:
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
        ids=[uuid.uuid4().hex for _ in answers],
        keys=asked.keys,
        days=asked.days,
        columns=asked.columns,
        answers=answers,
    )
    said = [
        {ANSWER_ID: request_id, served.key: key, **each}
        for request_id, key, each in zip(captured.ids, captured.keys, answers, strict=True)
    ]
    content = {"pipeline": captured.pipeline, "version": captured.version, "predictions": said}
    return Answered(msgspec.json.encode(content), captured)


def _check_finite(predictions: npt.NDArray[np.float32]) -> None:
    if len(predictions) < _FEW and all(map(math.isfinite, predictions.ravel().tolist())):
        return  # as almost always, in a tenth of the time
    wrong = ~np.isfinite(predictions).reshape(len(predictions), -1).all(axis=1)
    if wrong.any():
        row = int(np.argmax(wrong))
        raise BadRequestError(
            f"The model has no answer to row {row}: its numbers are beyond what it can compute with.", row=row
        )


def _choose(models: Models, pipeline: str | None) -> Service:
    known = models.known()
    if pipeline is None:
        if len(known) > 1:
            raise BadRequestError(
                f"Several pipelines are served: ask /invocations/<one of {known}>.",
                status=400,
                reason="unknown_pipeline",
            )
        pipeline = known[0] if known else None
    service = models.service(pipeline) if pipeline else None
    if service:
        return service
    why = models.errors().get(pipeline or "")
    if why:
        raise BadRequestError(f"No model of '{pipeline}' is loaded: {why}", status=503)
    if pipeline and known:
        close = difflib.get_close_matches(pipeline[:80], known, n=1)
        hint = f" Did you mean '{close[0]}'?" if close else ""
        raise BadRequestError(f"No pipeline '{pipeline[:80]}' is served here.{hint} Served: {known}.", status=404)
    raise BadRequestError("No model is loaded yet: none has been deployed.", status=503)


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
