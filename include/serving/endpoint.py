"""This file is what an endpoint's process consists of, and what it does with a request."""

import asyncio
import gc
import json
import logging
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request, Response
from prometheus_client import Histogram

from include.errors import BadRequestError
from include.serving.access_log import AccessLog
from include.serving.admission import Admission
from include.serving.answering import Answered, answer, choose
from include.serving.body import read_body
from include.serving.capture import Capture
from include.serving.formats import Format
from include.serving.gauges import LedgerGauges
from include.serving.limits import endpoint_limits
from include.serving.metrics import Metrics
from include.serving.model import Models, Service
from include.serving.shadow import Shadow
from include.serving.threads import Threads
from include.serving.visits import Visit, visit_of
from include.serving.workers import Worker, call_the_roll
from include.settings import Settings

log = logging.getLogger(__name__)

INLINE_BODY_BYTES = 32 * 2**10  # a larger request is worked on in a thread, so that small ones need not wait for it


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
        self._kept: dict[tuple[str, int], Histogram] = {}
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
        gc.freeze()  # what is loaded stays: to look through it for garbage again and again would hold up requests
        gc.set_threshold(20_000, 10, 10)  # a request leaves some 25 objects until it is captured, and no garbage
        yield
        await asyncio.to_thread(self.access_log.stop)
        await asyncio.to_thread(self.models.stop)
        await asyncio.to_thread(self.shadow.stop)
        await asyncio.to_thread(self.capture.stop)
        self._worker.leave()

    async def invoke(self, request: Request, pipeline: str | None) -> Response:
        """Answer one request, and keep what was asked."""
        visit = visit_of(request)
        visit.pipeline = name = pipeline if pipeline and self.models.is_known(pipeline) else ""
        try:
            await self.admission.admit(request, pipeline)
            service = choose(self.models, pipeline)
            visit.pipeline = name = service.state.pipeline
            body, form = await read_body(request)
            started = time.perf_counter()
            if len(body) <= INLINE_BODY_BYTES:
                answered = answer(service, body, form)
            else:
                answered = await self.threads.run(answer, service, body, form)
        except BadRequestError as error:
            visit.reason = error.reason
            self.metrics.unanswered.labels(name, "unavailable" if error.status == 503 else "refused").inc()
            return problem(str(error), field=error.field, row=error.row, status=error.status, headers=error.headers)
        except Exception:
            self.metrics.unanswered.labels(name, "failed").inc()
            log.exception("%s: a request failed.", name)
            return problem("The prediction failed; the endpoint's log says why.", status=500)
        return self._note(visit, service, answered, form, time.perf_counter() - started)

    def _note(self, visit: Visit, service: Service, answered: Answered, form: Format, seconds: float) -> Response:
        captured = answered.captured
        self.capture.put(captured)
        visit.answered(captured.version, captured.ids)
        if service.shadow:
            self.shadow.put(service.shadow, captured)
        if answered.failed is not None:
            self.metrics.failures.labels(captured.pipeline, answered.failed).inc()
        self._latency(captured.pipeline, captured.version).observe(seconds)
        headers = {"X-Evergreen-Version": str(captured.version)}
        return Response(answered.content, media_type=form.media_type, headers=headers)

    def _latency(self, pipeline: str, version: int) -> Histogram:
        # To look it up by its labels takes twice as long as to count.
        mark = (pipeline, version)
        if mark not in self._kept:
            self._kept[mark] = self.metrics.latency.labels(pipeline, version)
        return self._kept[mark]

    def ping(self) -> dict[str, Any]:
        """Return what this process serves, what it cannot, and what each of the processes says."""
        workers = call_the_roll(self.settings, self.metrics.forget)
        told = {"pipelines": self.models.as_told(), "errors": self.models.errors(), "workers": workers}
        return told | ({"capture": self.capture.problem} if self.capture.problem else {})

    def _tell(self, models: Models) -> None:
        if self._worker:
            self._worker.tell(models.as_told(), models.errors())


def problem(
    message: str,
    *,
    status: int,
    field: str | None = None,
    row: int | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Return the answer that says why there is none."""
    return as_json({"error": message, "field": field, "row": row}, status=status, headers=headers)


def as_json(content: dict[str, Any], *, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Return a page as JSON."""
    return Response(json.dumps(content), status_code=status, headers=headers, media_type="application/json")
