"""This file starts the endpoint, `python -m include.serving`: one port, one process or several.

Processes that die are started again by uvicorn, or by who started this one. Nothing listens beyond loopback unless it
is told to; a container says `--host 0.0.0.0`.
"""

import os
import shutil
from typing import Annotated

import typer
import uvicorn

from include.settings import load_settings

DRAIN_SECONDS = 20  # that requests may take to end when the endpoint is asked to
START_SECONDS = (
    60  # that a worker may take to import and load: uvicorn ends it after 5, again and again where it is busy
)


def serve(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(envvar="EVERGREEN_ENDPOINT_PORT")] = 8090,
    workers: Annotated[int, typer.Option(envvar="EVERGREEN_ENDPOINT_WORKERS", min=1, help="Processes.")] = 1,
    uds: Annotated[str | None, typer.Option(help="Listen on this Unix socket, and on no port.")] = None,
) -> None:
    """Serve what is declared."""
    counts = load_settings().serving / "counts" / ("socket" if uds else str(port))
    shutil.rmtree(counts, ignore_errors=True)  # Prometheus knows what a counter that begins again means
    counts.mkdir(parents=True)
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(counts)  # before the library is imported, here and in the workers
    uvicorn.run(
        "include.serving.app:create_app",
        factory=True,
        host=host,
        port=port,
        uds=uds,
        workers=workers,
        access_log=False,
        timeout_graceful_shutdown=DRAIN_SECONDS,
        timeout_worker_healthcheck=START_SECONDS,
    )


if __name__ == "__main__":
    typer.run(serve)
