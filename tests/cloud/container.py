"""One container of SageMaker's, as a process on this machine: its folders, its environment, what is brought."""

import os
import subprocess
import tarfile
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from include.settings import ROOT
from tests.cloud.warm import TRAININGS, WarmProcess

ML = "/opt/ml"
GROUP = "/aws/sagemaker/TrainingJobs"
SYNC_SECONDS = 0.3


class Container:
    """Input channels and checkpoints come from S3, output goes to CloudWatch, checkpoints and the model to S3."""

    def __init__(self, asked: dict[str, Any], s3: Any, logs: Any, folder: Path) -> None:
        self._asked, self._s3, self._logs, self._folder = asked, s3, logs, folder
        self._process: WarmProcess | None = None
        self._sent: dict[str, float] = {}
        self._is_killed = False
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
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(SYNC_SECONDS)
        reader.join()
        self._keep_checkpoints()
        self.seconds = time.time() - began
        return self._process.returncode

    def terminate(self) -> None:
        """Ask it to end."""
        if self._process:
            self._process.terminate()

    def kill(self) -> None:
        """End it, or keep it from beginning."""
        self._is_killed = True
        if self._process:
            self._process.kill()

    def pack(self) -> None:
        """Upload the model's folder."""
        name, output = self._asked["TrainingJobName"], self._asked["OutputDataConfig"]["S3OutputPath"]
        packed = self._folder / "model.tar.gz"
        with tarfile.open(packed, "w:gz") as archive:
            for path in sorted((self._folder / "model").iterdir()):
                archive.add(path, path.name)
        bucket, _, key = f"{output}/{name}/output/model.tar.gz".removeprefix("s3://").partition("/")
        self._s3.upload_file(str(packed), bucket, key)

    def said_why(self) -> str:
        """Return what was left in `failure`."""
        path = self._folder / "output" / "failure"
        return path.read_text()[:1024] if path.exists() else ""

    def _local(self, value: str) -> str:
        return value.replace(ML, str(self._folder))

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
        stream = f"{self._asked['TrainingJobName']}/algo-1-{int(time.time() * 1000)}"
        with suppress(self._logs.exceptions.ResourceAlreadyExistsException):
            self._logs.create_log_group(logGroupName=GROUP)
        self._logs.create_log_stream(logGroupName=GROUP, logStreamName=stream)
        for line in process.stdout or ():
            event = {"timestamp": int(time.time() * 1000), "message": line.rstrip("\n") or " "}
            self._logs.put_log_events(logGroupName=GROUP, logStreamName=stream, logEvents=[event])
