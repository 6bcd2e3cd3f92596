"""A stand-in for an Iceberg REST catalog: the part of the protocol that Evergreen uses, before a catalog in SQLite.

The rules of the protocol are PyIceberg's own (`commit_table` holds requirements against what is there); this file only
speaks HTTP. It wants a token, as real ones do.
"""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from pyiceberg.catalog.rest import CreateTableRequest, TableResponse
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.exceptions import (
    CommitFailedException,
    NamespaceAlreadyExistsError,
    NoSuchNamespaceError,
    NoSuchTableError,
    TableAlreadyExistsError,
)
from pyiceberg.table import CommitTableRequest

from include.demo.airflow_api import wait_until

TOKEN = "a-token"  # noqa: S105
STATUS = {
    NoSuchTableError: 404,
    NoSuchNamespaceError: 404,
    NamespaceAlreadyExistsError: 409,
    TableAlreadyExistsError: 409,
    CommitFailedException: 409,
}


@contextmanager
def serving(catalog: SqlCatalog) -> Iterator[str]:
    """Serve a catalog on loopback and give the URL."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(_app(catalog), log_level="warning"))
        thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
        thread.start()
        wait_until(lambda: server.started, 30, lambda: "the REST catalog does not start")
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        server.should_exit = True
        thread.join(10)


def _app(catalog: SqlCatalog) -> FastAPI:
    app = FastAPI()
    for kind, status in STATUS.items():
        app.add_exception_handler(kind, _saying(status))

    @app.middleware("http")
    async def only_with_the_token(request: Request, go_on: Callable[[Request], Any]) -> Response:
        if request.headers.get("Authorization") != f"Bearer {TOKEN}":
            return _error(401, "NotAuthorizedException", "no token, or another one")
        return await go_on(request)

    _answer(app, catalog)
    return app


def _answer(app: FastAPI, catalog: SqlCatalog) -> None:
    @app.get("/v1/config")
    def config() -> dict[str, Any]:
        return {"defaults": {}, "overrides": {}}

    @app.post("/v1/namespaces")
    def create_namespace(body: dict[str, Any]) -> dict[str, Any]:
        catalog.create_namespace(tuple(body["namespace"]))
        return {"namespace": body["namespace"], "properties": {}}

    @app.get("/v1/namespaces/{namespace}/tables")
    def list_tables(namespace: str) -> dict[str, Any]:
        found = catalog.list_tables(namespace)
        return {"identifiers": [{"namespace": [space], "name": name} for space, name in found]}

    @app.post("/v1/namespaces/{namespace}/tables")
    async def create_table(namespace: str, request: Request) -> Response:
        asked = CreateTableRequest.model_validate_json(await request.body())
        assert asked.stage_create, "Evergreen makes tables by a transaction"
        table = catalog._create_staged_table((namespace, asked.name), asked.table_schema, asked.location)
        return _json(TableResponse(metadata=table.metadata))

    @app.get("/v1/namespaces/{namespace}/tables/{name}")
    def load_table(namespace: str, name: str) -> Response:
        table = catalog.load_table((namespace, name))
        return _json(TableResponse(**{"metadata-location": table.metadata_location, "metadata": table.metadata}))

    @app.post("/v1/namespaces/{namespace}/tables/{name}")
    async def commit(namespace: str, name: str, request: Request) -> Response:
        asked = CommitTableRequest.model_validate_json(await request.body())
        table: Any = SimpleNamespace(name=lambda: (namespace, name))
        return _json(catalog.commit_table(table, asked.requirements, asked.updates))


def _json(model: Any) -> Response:
    return Response(model.model_dump_json(by_alias=True, exclude_none=True), media_type="application/json")


def _saying(status: int) -> Callable[[Request, Exception], Response]:
    return lambda _, error: _error(status, type(error).__name__, str(error))


def _error(status: int, kind: str, message: str) -> Response:
    return JSONResponse({"error": {"message": message, "type": kind, "code": status}}, status)
