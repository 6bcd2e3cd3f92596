"""This file measures what a key, its rate and the access log add to a request, without the request itself."""

import asyncio
import tempfile
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from fastapi import Request

from include.serving import access_log
from include.serving.access_log import AccessLog
from include.serving.admission import Admission
from include.serving.endpoint import Endpoint
from include.serving.front import Front
from include.serving.keys import add_key
from include.serving.metrics import Metrics
from include.serving.visits import Visit
from include.settings import load_settings

REQUESTS, ROUNDS = 3_000, 9
Once = Callable[[], Awaitable[None]]


def measure() -> dict[str, Any]:
    """Return microseconds a request, the best of some rounds: CPU, that of writing the log included, and wall clock."""
    return {
        "no key": _best(_admit(None)),
        "key": _best(_admit("")),
        "key and rate": _best(_admit("1000000/hour")),
        "visit": _best(_visit(0)),
        "visit and access log": _best(_visit(30)),
    }


def _admit(rate: str | None) -> Once:
    settings = load_settings().model_copy(update={"data": Path(tempfile.mkdtemp())})
    token = "" if rate is None else add_key(settings, "bench", rate=rate or None, pipelines=[], now=datetime.now(UTC))
    headers = [(b"host", b"x"), (b"content-type", b"application/json"), (b"authorization", f"Bearer {token}".encode())]
    scope = {"type": "http", "headers": headers, "state": {"visit": Visit("POST")}}
    admission = Admission(settings, Metrics())
    return lambda: admission.admit(Request(scope), "flight_delays")


def _visit(megabytes: int) -> Once:
    access_log.FLUSH_SECONDS = 0.01  # several times a round
    log = AccessLog(Path(tempfile.mkdtemp()), megabytes)
    log.start()
    front = Front(_nothing, cast(Endpoint, SimpleNamespace(metrics=Metrics(), access_log=log)))
    return lambda: front({"type": "http", "method": "GET", "path": "/"}, _receive, _send)


async def _nothing(_scope: Any, receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "http.response.start", "status": 200})
    await send({"type": "http.response.body", "body": b""})


async def _receive() -> dict[str, Any]:
    return {"type": "http.request", "body": b"x" * 500}


async def _send(_message: Any) -> None:
    pass


def _best(once: Once) -> dict[str, float]:
    async def rounds() -> list[tuple[float, float]]:
        found = []
        for _ in range(ROUNDS):
            cpu, wall = time.process_time(), time.perf_counter()
            for _ in range(REQUESTS):
                await once()
            found.append((time.process_time() - cpu, time.perf_counter() - wall))
        return found

    cpu, wall = (min(each) / REQUESTS * 1e6 for each in zip(*asyncio.run(rounds()), strict=True))
    return {"cpu_us": round(cpu, 1), "wall_us": round(wall, 1)}
