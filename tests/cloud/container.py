"""SageMaker's containers, each a process on this machine: their folders, their environment, what is brought.

What differs: names of other containers of a job (algo-2:29500) are told as ports of 127.0.0.1.
"""

import json
import os
import re
import signal
import socket
import subprocess
import tarfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from include.settings import ROOT
from tests.warm import TRAININGS, WarmProcess

ML = "/opt/ml"
GROUP = "/aws/sagemaker/TrainingJobs"
SYNC_SECONDS = 0.3
GRACE_SECONDS = 60  # between SIGTERM and SIGKILL; SageMaker's are 120


class Container:
    """Input channels and checkpoints come from S3, output goes to CloudWatch, checkpoints and the model to S3."""

    def __init__(
        self, asked: dict[str, Any], clients: tuple[Any, Any], folder: Path, host: str, address: Callable[[str], str]
    ) -> None:
        self._asked, self._folder, self._host, self._address = asked, folder, host, address
        self._s3, self._logs = clients
        self._process: WarmProcess | None = None
        self._sent: dict[str, float] = {}
        self._is_killed = False
        self._told_at = float("inf")
        self.is_late = False
        self.seconds = 0.0

    def bring(self) -> None:
        """Fetch channels and checkpoints."""
        for name in ("model", "output", "checkpoints"):
            (self._folder / name).mkdir(parents=True)
        for channel in self._asked["InputDataConfig"]:
            source = channel["DataSource"]["S3DataSource"]["S3Uri"]
            self._fetch(source, self._folder / "input" / "data" / channel["ChannelName"])
        self._fetch(self._asked["CheckpointConfig"]["S3Uri"] + "/", self._folder / "checkpoints")
        told = {"current_host": self._host, "hosts": hosts_of(self._asked), "network_interface_name": "lo"}
        (self._folder / "input" / "config").mkdir()
        (self._folder / "input" / "config" / "resourceconfig.json").write_text(json.dumps(told))

    def run(self, until: float) -> int:
        """Run the entry point to its end, and return its exit code."""
        began = time.time()
        # What the image has, and what was asked for: nothing else of this process' environment is there.
        env = {"PATH": os.environ["PATH"], "HOME": str(self._folder), "PYTHONPATH": str(ROOT)}
        env |= {key: self._local(value) for key, value in self._asked["Environment"].items()}
        command = self._asked["AlgorithmSpecification"]["ContainerEntrypoint"]
        assert command[0] == "python"
        self._process = TRAININGS.start(command[1:], env)
        if self._is_killed:
            self._process.kill()
        reader = threading.Thread(target=self._log, args=(self._process,), daemon=True)
        reader.start()
        while self._process.poll() is None:
            self._keep_checkpoints()
            if time.time() >= until and not self.is_late:
                self.is_late = True
                self.terminate()
            if time.time() > self._told_at + GRACE_SECONDS:
                self._kill_all()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(SYNC_SECONDS)
        self._kill_all()
        reader.join()
        self._keep_checkpoints()
        self.seconds = time.time() - began
        return self._process.wait()

    def terminate(self) -> None:
        """Ask it to end."""
        if self._process:
            self._told_at = min(self._told_at, time.time())
            self._process.terminate()

    def kill(self) -> None:
        """End it, or keep it from beginning."""
        self._is_killed = True
        self._kill_all()

    @property
    def left(self) -> list[Path]:
        """Return what lies in the model's folder."""
        return sorted((self._folder / "model").iterdir())

    def said_why(self) -> str:
        """Return what was left in `failure`."""
        path = self._folder / "output" / "failure"
        return path.read_text()[:1024] if path.exists() else ""

    def _kill_all(self) -> None:
        """End all that was started in it, as a container does whose first process ends."""
        if self._process:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                if process.environ().get("HOME") == str(self._folder):
                    process.kill()

    def _local(self, value: str) -> str:
        value = value.replace(ML, str(self._folder))
        return re.sub(r"algo-\d+:\d+", lambda found: self._address(found[0]), value)

    def _fetch(self, uri: str, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        bucket, _, prefix = uri.removeprefix("s3://").partition("/")
        for each in self._s3.list_objects_v2(Bucket=bucket, Prefix=prefix).get("Contents", []):
            path = folder / each["Key"].removeprefix(prefix)
            path.parent.mkdir(parents=True, exist_ok=True)
            self._s3.download_file(bucket, each["Key"], str(path))

    def _keep_checkpoints(self) -> None:
        bucket, _, prefix = self._asked["CheckpointConfig"]["S3Uri"].removeprefix("s3://").partition("/")
        folder = self._folder / "checkpoints"
        for path in sorted(folder.rglob("*")):
            with suppress(FileNotFoundError):  # renamed or removed meanwhile
                if path.is_file() and self._sent.get(str(path)) != path.stat().st_mtime:
                    self._s3.upload_file(str(path), bucket, f"{prefix}/{path.relative_to(folder)}")
                    self._sent[str(path)] = path.stat().st_mtime

    def _log(self, process: WarmProcess) -> None:
        stream = f"{self._asked['TrainingJobName']}/{self._host}-{int(time.time() * 1000)}"
        with suppress(self._logs.exceptions.ResourceAlreadyExistsException):
            self._logs.create_log_group(logGroupName=GROUP)
        self._logs.create_log_stream(logGroupName=GROUP, logStreamName=stream)
        for line in process.stdout:
            event = {"timestamp": int(time.time() * 1000), "message": line.rstrip("\n") or " "}
            self._logs.put_log_events(logGroupName=GROUP, logStreamName=stream, logEvents=[event])


class Containers:
    """All containers of one job. They end together: where one fails, the others are stopped."""

    def __init__(self, asked: dict[str, Any], s3: Any, logs: Any, folder: Path) -> None:
        self._asked, self._s3, self._folder = asked, s3, folder
        self._ports: dict[str, int] = {}
        self._lock = threading.Lock()
        self._all = [Container(asked, (s3, logs), folder / host, host, self._address_of) for host in hosts_of(asked)]
        self._failed: Container | None = None
        self.seconds = 0.0

    @property
    def is_late(self) -> bool:
        return any(each.is_late for each in self._all)

    def bring(self) -> None:
        for each in self._all:
            each.bring()

    def run(self, until: float) -> int:
        """Run all to their end, and return the exit code of the first that has failed."""
        codes: list[int] = []

        def run(container: Container) -> None:
            code = container.run(until)
            if code and self._failed is None:
                self._failed = container
                codes.append(code)
                self.terminate()

        with ThreadPoolExecutor(len(self._all)) as pool:
            list(pool.map(run, self._all))
        self.seconds = max(each.seconds for each in self._all)
        return codes[0] if codes else 0

    def terminate(self) -> None:
        for each in self._all:
            each.terminate()

    def kill(self) -> None:
        for each in self._all:
            each.kill()

    def pack(self) -> None:
        """Upload what lies in the models' folders, as one: no two may hold the same name."""
        name, output = self._asked["TrainingJobName"], self._asked["OutputDataConfig"]["S3OutputPath"]
        packed, names = self._folder / "model.tar.gz", set[str]()
        with tarfile.open(packed, "w:gz") as archive:
            for path in (path for each in self._all for path in each.left):
                assert path.name not in names, f"two machines have written {path.name}"
                names.add(path.name)
                archive.add(path, path.name)
        bucket, _, key = f"{output}/{name}/output/model.tar.gz".removeprefix("s3://").partition("/")
        self._s3.upload_file(str(packed), bucket, key)

    def said_why(self) -> str:
        return self._failed.said_why() if self._failed else ""

    def _address_of(self, name: str) -> str:
        with self._lock:  # all containers ask at once, and must be told the same
            if name not in self._ports:
                with socket.socket() as found:
                    found.bind(("127.0.0.1", 0))
                    self._ports[name] = found.getsockname()[1]
            return f"127.0.0.1:{self._ports[name]}"


def hosts_of(asked: dict[str, Any]) -> list[str]:
    return [f"algo-{number}" for number in range(1, asked["ResourceConfig"]["InstanceCount"] + 1)]
