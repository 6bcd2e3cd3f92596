"""This file runs an endpoint of its own for one release: the same server, in a process that serves nobody else."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from include.deployment import state_of
from include.errors import ArtefactError, EndpointError
from include.ledger import Release
from include.process import die_with_parent
from include.serving.state import declare
from include.settings import ROOT, load_settings

START_SECONDS = 120
STOP_SECONDS = 30


@contextmanager
def endpoint_for(release: Release) -> Iterator[httpx.Client]:
    """Serve a release on a socket in a temporary folder for the length of a `with` block; nothing it captures is kept.

    :raises ArtefactError: if it cannot be loaded, or is not the file that was registered.
    :raises EndpointError: if the process ends or does not answer.
    """
    with tempfile.TemporaryDirectory(prefix="evergreen-") as name:
        folder = Path(name)
        declare(load_settings().model_copy(update={"data": folder}), state_of(release, 1))
        socket, log = folder / "http", folder / "log"
        with log.open("w") as output:
            process = subprocess.Popen(  # noqa: S603 - our own command
                [sys.executable, "-m", "include.serving", "--uds", str(socket)],
                cwd=ROOT,
                env=os.environ | {"EVERGREEN_DATA": name, "PYTHONPATH": str(ROOT), "EVERGREEN_ENDPOINT_WORKERS": "1"},
                stdout=output,
                stderr=output,
                preexec_fn=die_with_parent,  # noqa: PLW1509 - one prctl call, no locks
            )
        try:
            transport = httpx.HTTPTransport(uds=str(socket))
            with httpx.Client(transport=transport, base_url="http://endpoint", timeout=60) as client:
                _wait_for(client, release, process, log)
                yield client
        finally:
            process.terminate()
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait_for(client: httpx.Client, release: Release, process: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + START_SECONDS
    while True:
        try:
            told = client.get("/ping").json()
        except httpx.TransportError:
            told = {"pipelines": {}, "errors": {}}
        if problem := told["errors"].get(release.pipeline):
            raise ArtefactError(f"The endpoint cannot serve {release.id}: {problem}")
        if release.pipeline in told["pipelines"]:
            return
        if process.poll() is not None or time.monotonic() > until:
            raise EndpointError(
                f"A process that was to serve {release.id} has ended or does not answer: {log.read_text()[-2000:]}"
            )
        time.sleep(0.05)
