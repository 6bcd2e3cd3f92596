"""This file starts the servers that the endpoint is compared with, each with the endpoint's own model."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil

from include.demo.airflow_api import wait_until
from include.settings import ROOT

UV = Path(sys.executable).parent / "uv"


@dataclass(frozen=True)
class Contenders:
    """The servers there are.

    :param model: the artefact's folder.
    :param folder: where environments are made.
    :param bodies: a file of requests, by the first of which a server is known to be there.
    """

    model: Path
    folder: Path
    bodies: Path

    @contextmanager
    def bare(self) -> Iterator[str]:
        """Serve with FastAPI and ONNX Runtime alone."""
        command = [sys.executable, "-m", "uvicorn", "bench.bare_app:app", "--no-access-log", "--port"]
        with self._served(command) as url:
            yield url

    @contextmanager
    def litserve(self) -> Iterator[str]:
        """Serve with LitServe, in an environment of its own."""
        with self._served([self._environment("litserve"), "lit.py"]) as url:
            yield url

    @contextmanager
    def bentoml(self) -> Iterator[str]:
        """Serve with BentoML, in an environment of its own."""
        with self._served([self._environment("bentoml"), "-m", "bentoml", "serve", "bento:Model", "--port"]) as url:
            yield url

    def _environment(self, package: str) -> str:
        python = self.folder / package / "bin" / "python"
        subprocess.run([UV, "venv", "-q", "--python", sys.executable, self.folder / package], check=True)
        install = [UV, "pip", "install", "-q", "--python", python, package, "onnxruntime", "numpy"]
        done = subprocess.run(install, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{package} cannot be installed: {done.stderr.strip()[-300:]}")
        return str(python)

    @contextmanager
    def _served(self, command: list[str]) -> Iterator[str]:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        url = f"http://127.0.0.1:{port}/invocations"
        environment = {"BENCH_MODEL": str(self.model), "PYTHONPATH": str(ROOT), "BENTOML_DO_NOT_TRACK": "True"}
        with (self.folder / f"{port}.log").open("w") as log:
            server = subprocess.Popen(
                [*command, str(port)],
                cwd=ROOT / "bench" / "servers",
                env=os.environ | environment,
                stdout=log,
                stderr=log,
            )
        try:
            wait_until(lambda: self._answers(url), 60, lambda: f"{command} does not serve: see {log.name}")
            yield url
        finally:
            # Gently asked, LitServe's processes go on; BentoML's are no group.
            for process in [*psutil.Process(server.pid).children(recursive=True), server]:
                with suppress(psutil.NoSuchProcess):
                    process.kill()
            server.wait(30)

    def _answers(self, url: str) -> bool:
        body = self.bodies.read_text().splitlines()[0]
        with suppress(httpx.TransportError):
            kind = {"Content-Type": "application/json"}
            return httpx.post(url, content=body, headers=kind, trust_env=False).is_success
        return False
