"""This file is the endpoint's pages: `/invocations`, `/metrics`, what tells its health, and their description."""

import asyncio

from fastapi import FastAPI, Request, Response
from fastapi.responses import RedirectResponse
from fastapi_offline import FastAPIOffline
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.exceptions import HTTPException

from include.serving.contract import INVOCATION, with_models
from include.serving.endpoint import Endpoint, as_json, problem
from include.serving.front import Front
from include.serving.visits import visit_of
from include.settings import Settings, load_settings


def create_app(settings: Settings | None = None) -> Front:
    """Build the endpoint; `python -m include.serving` serves it."""
    endpoint = Endpoint(settings or load_settings())
    app = FastAPIOffline(title="Evergreen endpoint", lifespan=endpoint.lifespan)

    @app.exception_handler(HTTPException)
    async def refuse(request: Request, error: HTTPException) -> Response:
        """Say in the same words as elsewhere that there is no such page, or not by that method."""
        visit_of(request).reason = "no_page"
        message = f"{request.method[:20]} {request.url.path[:80]}: {error.detail}. Ask POST /invocations/<pipeline>."
        return problem(message, status=error.status_code, headers=error.headers)

    @app.get("/", include_in_schema=False)
    async def index() -> Response:
        """Show who looks here with a browser what can be asked."""
        return RedirectResponse("/docs")

    @app.get("/metrics", summary="Counters and gauges for Prometheus")
    async def metrics() -> Response:
        """Give the figures of all processes in Prometheus' format; a slow ledger delays this page, no prediction."""
        page = await asyncio.to_thread(endpoint.metrics.page, endpoint.gauges)
        return Response(page, media_type=CONTENT_TYPE_LATEST)

    # What these two are asked `Front` answers itself, by the same call: they stand here for their description.
    @app.post("/invocations/{pipeline}", summary="Ask a pipeline by its name", **INVOCATION)
    async def invoke(request: Request, pipeline: str) -> Response:
        """Predict for each of `instances` with the named pipeline's model."""
        return await endpoint.invoke(request, pipeline)

    @app.post("/invocations", summary="Ask the only pipeline that is served", **INVOCATION)
    async def invoke_only(request: Request) -> Response:
        """Predict for each of `instances`, where only one pipeline is served."""
        return await endpoint.invoke(request, None)

    _add_health(app, endpoint)
    described = app.openapi
    app.openapi = lambda: with_models(described(), endpoint.models)  # type: ignore[method-assign]
    return Front(app, endpoint)


def _add_health(app: FastAPI, endpoint: Endpoint) -> None:
    @app.get("/ping", summary="What is served, by each process")
    async def ping() -> Response:
        """Say what is served, which declared state cannot be, and what each process of this endpoint says."""
        return as_json(await asyncio.to_thread(endpoint.ping))

    @app.get("/live", summary="Does this process answer?")
    async def live() -> Response:
        """Say that this process answers; if it does not, start it again."""
        return as_json({"live": True})

    @app.get("/ready", summary="May requests come?")
    async def ready() -> Response:
        """Say whether requests may come: 503 before anything that is declared can be served."""
        is_ready = bool(endpoint.models.as_told()) or not endpoint.models.errors()
        return as_json({"ready": is_ready, "errors": endpoint.models.errors()}, status=200 if is_ready else 503)
