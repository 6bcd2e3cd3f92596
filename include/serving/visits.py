"""This file follows each request from its first byte to its last, for the refusals' counter and the access log."""

import time
from dataclasses import dataclass

from fastapi import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from include.errors import Reason
from include.serving.access_log import AccessLog
from include.serving.metrics import Metrics


@dataclass
class Visit:
    """One request, in the access log's fields. Nothing here may hold a payload, a token or a header."""

    method: str
    route: str | None = None  # the template: a path may hold anything
    pipeline: str = ""  # one that is served, or nothing
    key: str | None = None
    status: int | None = None
    reason: Reason | None = None
    rows: int | None = None
    bytes: int = 0
    version: int | None = None
    answer_id: str | None = None

    def answered(self, version: int, answer_ids: list[str]) -> None:
        """Note who answered, and the first row's answer, by which the rest is found among the captured ones."""
        self.version, self.rows, self.answer_id = version, len(answer_ids), answer_ids[0]


def visit_of(request: Request) -> Visit:
    """Return what is noted about a request."""
    visit: Visit = request.scope["state"]["visit"]
    return visit


class Visits:
    """The outermost layer of the endpoint."""

    def __init__(self, app: ASGIApp, metrics: Metrics, access_log: AccessLog) -> None:
        self._app = app
        self._refusals = metrics.refusals
        self._access_log = access_log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, then count and log it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        visit = Visit(scope["method"][:20])
        scope.setdefault("state", {})["visit"] = visit
        started = time.perf_counter()

        async def received() -> Message:
            message = await receive()
            visit.bytes += len(message.get("body", b""))
            return message

        async def sent(message: Message) -> None:
            if message["type"] == "http.response.start":
                visit.status = message["status"]
            await send(message)

        try:
            await self._app(scope, received, sent)
        except Exception:
            visit.status = 500
            raise
        finally:
            visit.route = getattr(scope.get("route"), "path", None)
            self._end(visit, time.perf_counter() - started)

    def _end(self, visit: Visit, seconds: float) -> None:
        if visit.reason:
            self._refusals.labels(visit.pipeline, visit.reason).inc()
        self._access_log.write({**vars(visit), "ms": round(seconds * 1000, 3)})
