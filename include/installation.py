"""This file looks whether what every stage needs is there: Python, Java, ledger, lake, MLflow, Spark, the endpoint."""

import socket
import sys
from collections.abc import Iterator
from urllib.parse import urlsplit

import httpx
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url

from include.finding import Finding, looked_at, ok, problem
from include.ledger import open_ledger
from include.places import shown
from include.readiness import check_java
from include.settings import Settings

PYTHON = (3, 11)
SECONDS = 5.0  # for a service to answer: a person waits


def check_installation(settings: Settings) -> Iterator[Finding]:
    """Yield what was found of each, whatever the platform."""
    here = ".".join(map(str, sys.version_info[:3]))
    yield ok("Python", here) if sys.version_info[:2] == PYTHON else problem("Python", here, "Take 3.11: `make setup`.")
    if settings.spark_remote:
        remedy = "`make up` starts one; or correct SPARK_REMOTE."
        remote = settings.spark_remote
        yield looked_at("Spark", lambda: _listens(remote, 15002), remedy, seconds=SECONDS)
    else:
        yield looked_at("Java", _java, "", seconds=SECONDS)
    yield looked_at("ledger", lambda: _ledger(settings.ledger_url), "Start it, or correct EVERGREEN_LEDGER_URL.")
    yield looked_at("catalog", lambda: _database(settings.catalog_url), "Start it, or correct EVERGREEN_CATALOG_URL.")
    yield looked_at("MLflow", lambda: _tracking(settings.tracking_url), "Start it, or correct MLFLOW_TRACKING_URI.")
    remedy = "`make up` starts one; or correct EVERGREEN_ENDPOINT_URL."
    yield looked_at("endpoint", lambda: _answers(f"{settings.endpoint_url}/ping"), remedy)


def _java() -> str:
    check_java()
    return "is there, for the Spark of a task's own process"


def _ledger(url: str) -> str:
    with open_ledger() as session:
        session.execute(text("select 1"))
    return shown(url)


def _tracking(url: str) -> str:
    return _answers(f"{url}/health") if url.startswith("http") else _database(url)


def _database(url: str) -> str:
    """Return a database that can be used; SQLite's file is made by who first writes."""
    path = make_url(url).database or ""
    if url.startswith("sqlite"):
        from pathlib import Path

        return shown(url) if Path(path).exists() else f"{shown(url)}, made at its first use"
    engine = create_engine(url)
    with engine.connect() as connection:
        connection.execute(text("select 1"))
    return shown(url)


def _answers(url: str) -> str:
    httpx.get(url, timeout=SECONDS).raise_for_status()
    return f"{shown(url)} answers"


def _listens(remote: str, port: int) -> str:
    """Return where somebody listens.

    :raises OSError: if nobody does.
    """
    address = urlsplit(remote.split(";")[0])
    with socket.create_connection((address.hostname or "", address.port or port), timeout=SECONDS):
        return f"{shown(remote)} answers"
