"""SageMaker's training API as a small server whose jobs really run: as processes, in folders like a container's.

What a real job finds below /opt/ml lies in a folder of its own; S3 and CloudWatch are moto's. Faults are asked for:
`fail_next`, `interrupt`. It answers as AWS' documentation says, and knows nothing of Evergreen's side.
"""

import json
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.cloud.container import Containers

NAME = re.compile(r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}")


class ApiError(Exception):
    """An answer that is an error."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass
class TrainingJob:
    """One job: what was asked for, and how far it is."""

    asked: dict[str, Any]
    arn: str
    began: float = field(default_factory=time.time)
    status: str = "InProgress"
    second: str = "Starting"
    reason: str = ""
    billable: float = 0.0
    transitions: list[dict[str, Any]] = field(default_factory=list)
    containers: Containers | None = None
    interruptions: list[bool] = field(default_factory=list)  # asked for: whether a machine is found again
    is_told_to_stop: bool = False

    def enter(self, second: str, message: str = "", status: str | None = None) -> None:
        self.status, self.second = status or self.status, second
        self.transitions.append({"Status": second, "StartTime": time.time(), "StatusMessage": message})

    def described(self) -> dict[str, Any]:
        asked = self.asked
        told = {name: value for name, value in asked.items() if name not in {"Tags"}}
        told |= {"TrainingJobArn": self.arn, "TrainingJobStatus": self.status, "SecondaryStatus": self.second}
        told |= {"CreationTime": self.began, "LastModifiedTime": time.time()}
        told |= {"SecondaryStatusTransitions": self.transitions}
        if self.status not in {"InProgress", "Stopping"}:
            told |= {"BillableTimeInSeconds": max(1, int(self.billable)), "TrainingEndTime": time.time()}
            output = f"{asked['OutputDataConfig']['S3OutputPath']}/{asked['TrainingJobName']}/output/model.tar.gz"
            told |= {"ModelArtifacts": {"S3ModelArtifacts": output}}
        if self.reason:
            told["FailureReason"] = self.reason
        return told


class SageMaker:
    """The server. `with SageMaker(...) as url` answers until the end; jobs that still run then are killed."""

    def __init__(self, s3: Any, logs: Any, folder: Path) -> None:
        self.jobs: dict[str, TrainingJob] = {}
        self.calls: list[str] = []
        self.sent: list[str] = []  # all that was asked, as text
        self._faults: list[tuple[str, str, str]] = []  # action ("" for any), code, message
        self._lost: list[str] = []
        self.on_create: Callable[[dict[str, Any]], object] = lambda _asked: None
        self.quotas: dict[str, float] = {}  # name: value
        self._s3, self._logs, self._folder = s3, logs, folder
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))

    def __enter__(self) -> "SageMaker":
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self.kill_all()

    def kill_all(self) -> None:
        """End what runs, or is about to."""
        for job in self.jobs.values():
            job.is_told_to_stop = True
            if job.containers:
                job.containers.kill()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def fail_next(self, code: str, message: str = "", *, action: str = "", times: int = 1) -> None:
        """Answer the next calls, or those of an action, with an error."""
        self._faults += [(action, code, message or code)] * times

    def lose_next(self, action: str) -> None:
        """Do what the next call of an action asks for, and break the connection instead of answering."""
        self._lost.append(action)

    def forget_faults(self) -> bool:
        """Answer as usual from now on; return whether a fault that was asked for had not come yet."""
        with self._lock:
            was_left = bool(self._faults or self._lost)
            self._faults.clear()
            self._lost.clear()
        return was_left

    def interrupt(self, name: str, *, comes_back: bool) -> None:
        """Take a spot job's machine away; SageMaker waits for another one, until MaxWaitTime is over."""
        job = self.jobs[name]
        assert job.asked["EnableManagedSpotTraining"], "an on-demand machine is not taken away"
        job.interruptions.append(comes_back)
        assert job.containers
        job.containers.terminate()

    def answer(self, action: str, asked: dict[str, Any]) -> dict[str, Any]:
        with self._lock:
            self.calls.append(action)
            for number, (of_action, code, message) in enumerate(self._faults):
                if of_action in {"", action}:
                    del self._faults[number]
                    raise ApiError(code, message)
            actions: dict[str, Callable[..., dict[str, Any]]] = {
                "CreateTrainingJob": self._create,
                "DescribeTrainingJob": lambda asked: self._find(asked).described(),
                "StopTrainingJob": self._stop,
                "ListTrainingJobs": self._list,
                "ListTags": self._tags,
                # Of Service Quotas, which speaks alike.
                "ListServiceQuotas": lambda _: {
                    "Quotas": [{"QuotaName": k, "Value": v} for k, v in self.quotas.items()]
                },
            }
            if action not in actions:
                raise ApiError("UnknownOperationException", action)
            told = actions[action](asked)
            if action in self._lost:
                self._lost.remove(action)
                raise ConnectionError(action)
            return told

    def _create(self, asked: dict[str, Any]) -> dict[str, Any]:
        name = asked["TrainingJobName"]
        if not NAME.fullmatch(name):
            raise ApiError("ValidationException", f"Value '{name}' at 'trainingJobName' failed to satisfy constraint")
        if name in self.jobs:
            arn = self.jobs[name].arn
            raise ApiError("ResourceInUse", f"Training job names must be unique within an AWS account: {arn}")
        if asked["EnableManagedSpotTraining"] and "MaxWaitTimeInSeconds" not in asked["StoppingCondition"]:
            raise ApiError("ValidationException", "MaxWaitTimeInSeconds must be set where spot training is enabled")
        job = TrainingJob(asked, f"arn:aws:sagemaker:eu-central-1:123456789012:training-job/{name}")
        job.enter("Starting", "Preparing the instances for training")
        self.jobs[name] = job
        self.on_create(asked)
        threading.Thread(target=self._run, args=(job,), daemon=True).start()
        return {"TrainingJobArn": job.arn}

    def _find(self, asked: dict[str, Any]) -> TrainingJob:
        if asked["TrainingJobName"] not in self.jobs:
            raise ApiError("ValidationException", "Requested resource not found.")
        return self.jobs[asked["TrainingJobName"]]

    def _stop(self, asked: dict[str, Any]) -> dict[str, Any]:
        job = self._find(asked)
        if job.status not in {"InProgress", "Stopping"}:
            raise ApiError(
                "ValidationException",
                f"The request was rejected because the training job is in status {job.status}.",
            )
        job.is_told_to_stop = True
        job.enter("Stopping", "Stopping the training job", "Stopping")
        if job.containers:
            job.containers.terminate()
        return {}

    def _list(self, asked: dict[str, Any]) -> dict[str, Any]:
        found = [
            {
                "TrainingJobName": name,
                "TrainingJobArn": job.arn,
                "CreationTime": job.began,
                "TrainingJobStatus": job.status,
            }
            for name, job in self.jobs.items()
            if job.status == asked.get("StatusEquals", job.status) and asked.get("NameContains", "") in name
        ]
        return {"TrainingJobSummaries": found}

    def _tags(self, asked: dict[str, Any]) -> dict[str, Any]:
        return {"Tags": next(job.asked["Tags"] for job in self.jobs.values() if job.arn == asked["ResourceArn"])}

    def _run(self, job: TrainingJob) -> None:
        try:
            while self._run_once(job):
                pass
        except Exception as error:
            job.reason = f"InternalServerError: {error!r}"
            job.enter("Failed", job.reason, "Failed")
            raise

    def _run_once(self, job: TrainingJob) -> bool:
        """Run the containers to their end; return whether another machine takes over from one that was taken away."""
        asked = job.asked
        containers = Containers(
            asked, self._s3, self._logs, self._folder / f"{asked['TrainingJobName']}-{time.time_ns()}"
        )
        job.enter("Downloading", "Downloading input data")
        containers.bring()
        job.containers = containers
        if job.is_told_to_stop:
            return self._end(job, "Stopped", "Stopped", "")
        job.enter("Training", "Training image download completed. Training in progress.")
        code = containers.run(until=job.began + asked["StoppingCondition"]["MaxRuntimeInSeconds"])
        job.billable += containers.seconds
        if job.interruptions and not job.is_told_to_stop:
            job.enter("Interrupted", "The managed spot training instance was interrupted")
            if job.interruptions.pop():
                job.enter("Starting", "Preparing the instances for training")
                return True
            return self._end(job, "Stopped", "MaxWaitTimeExceeded", "No spot capacity within MaxWaitTimeInSeconds")
        job.enter("Uploading", "Uploading generated training model")
        containers.pack()
        if job.is_told_to_stop:
            return self._end(job, "Stopped", "Stopped", "Training job stopped")
        if containers.is_late:
            return self._end(job, "Stopped", "MaxRuntimeExceeded", "Training job exceeded MaxRuntimeInSeconds")
        if code:
            job.reason = f"AlgorithmError: {containers.said_why()}, exit code: {code}"
            return self._end(job, "Failed", "Failed", job.reason)
        return self._end(job, "Completed", "Completed", "Training job completed")

    def _end(self, job: TrainingJob, status: str, second: str, message: str) -> bool:
        job.enter(second, message, status)
        return False


def _handler(sagemaker: SageMaker) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            sagemaker.sent.append(body.decode())
            action = self.headers["X-Amz-Target"].partition(".")[2]
            try:
                status, told = 200, sagemaker.answer(action, json.loads(body))
            except ConnectionError:
                self.close_connection = True
                return
            except ApiError as error:
                status, told = 400, {"__type": error.code, "message": str(error)}
            content = json.dumps(told).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/x-amz-json-1.1")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    return Handler
