"""This file is the first to see a request: it counts and logs all, and leads some straight to their answer.

Those are the requests for predictions. What FastAPI and Starlette look for on the way (middleware, routes,
dependencies, what is to be closed afterwards) is for the other pages: predictions need none of it.
"""

import time
from datetime import UTC, datetime

from fastapi import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from include.serving.endpoint import Endpoint
from include.serving.visits import Visit

ASKED = "/invocations"


class Front:
    """The outermost layer of the endpoint."""

    def __init__(self, app: ASGIApp, endpoint: Endpoint) -> None:
        self._app = app
        self.endpoint = endpoint

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or let it through to its page; then count and log it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        visit = Visit(scope["method"][:20])
        scope.setdefault("state", {})["visit"] = visit
        started = time.perf_counter()
        try:
            if scope["method"] == "POST" and _is_asked(scope["path"]):
                await self._answer(visit, scope, receive, send)
            else:
                await self._show(visit, scope, receive, send)
        except Exception:
            visit.status = 500
            raise
        finally:
            if visit.reason:
                self.endpoint.metrics.refusals.labels(visit.pipeline, visit.reason).inc()
            visit.time, visit.ms = datetime.now(UTC), round((time.perf_counter() - started) * 1000, 3)
            self.endpoint.access_log.write(visit)

    async def _answer(self, visit: Visit, scope: Scope, receive: Receive, send: Send) -> None:
        pipeline = scope["path"][len(ASKED) + 1 :] or None
        visit.route = f"{ASKED}/{{pipeline}}" if pipeline else ASKED
        response = await self.endpoint.invoke(Request(scope, receive), pipeline)
        visit.status = response.status_code
        await response(scope, receive, send)

    async def _show(self, visit: Visit, scope: Scope, receive: Receive, send: Send) -> None:
        async def received() -> Message:
            message = await receive()
            visit.bytes += len(message.get("body", b""))
            return message

        async def sent(message: Message) -> None:
            if message["type"] == "http.response.start":
                visit.status = message["status"]
            await send(message)

        await self._app(scope, received, sent)
        visit.route = getattr(scope.get("route"), "path", None)


def _is_asked(path: str) -> bool:
    return path == ASKED or (path.startswith(f"{ASKED}/") and "/" not in path[len(ASKED) + 1 :] and path != f"{ASKED}/")
