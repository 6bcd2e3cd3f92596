"""This file keeps the platforms' own books of what ran, and makes their networks bad; it does not ask the ledger."""

import hashlib
import random
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from include.partition import run_key_of
from tests.cloud.kubernetes_api import CUT, LOST, KubernetesApi
from tests.cloud.sagemaker import SageMaker

BUCKET = "evergreen-test"
RUNNING = {"InProgress", "Stopping"}
MOST_CALLS_BEFORE = 8


@dataclass(frozen=True)
class Run:
    """One job that was really started."""

    name: str
    is_needless: bool  # it began while another one of its request ran, or after one of it had made the model


class Books(ABC):
    """What one platform has really done, by its own account."""

    @abstractmethod
    def runs_of(self, request_id: str) -> list[Run]:
        """Return all that was started for a request, in its order."""

    @abstractmethod
    def running(self, request_id: str) -> list[str]:
        """Return what still runs, or is about to, for a request."""

    @abstractmethod
    def left_of(self, request_id: str) -> list[str]:
        """Return what is still kept on the platform for a request."""

    @abstractmethod
    def on_create(self, act: Callable[[], object]) -> None:
        """Act whenever a job has been created, before anybody is told."""

    @abstractmethod
    def disturb(self, dice: random.Random) -> None:
        """Let one of the next calls fail."""

    @abstractmethod
    def is_still_disturbed(self) -> bool:
        """Tell whether that call has not come; it will not fail any more."""


class LocalBooks(Books):
    """Processes of this machine: each writes a line when it begins, whoever starts it.

    :param folder: for that file.
    """

    def __init__(self, folder: Path) -> None:
        """Let Python be started through a script that keeps the book; the process keeps its number."""
        self._book, recorder = folder / "book", folder / "python"
        # One that finds a model there looks at it and ends: it is no training.
        recorder.write_text(f"""#!/bin/sh
for spec; do :; done
work=$(dirname "$spec")
if [ ! -e "${{work%.training}}/manifest.json" ]; then
  beside=0
  for pid in $(grep " $spec\\$" {self._book} 2>/dev/null | cut -d' ' -f1); do
    if [ -e /proc/$pid/stat ] && ! grep -q ") Z " /proc/$pid/stat; then beside=1; fi
  done
  echo "$$ $beside $spec" >> {self._book}
fi
exec {sys.executable} "$@"
""")
        recorder.chmod(0o755)
        self.python = str(recorder)

    def runs_of(self, request_id: str) -> list[Run]:
        """Return the processes that found no model there."""
        return [Run(pid, beside == "1") for pid, beside in self._lines(request_id)]

    def running(self, request_id: str) -> list[str]:
        """Return those that live."""
        found = []
        for pid, _ in self._lines(request_id):
            with suppress(psutil.Error):
                if psutil.Process(int(pid)).status() != psutil.STATUS_ZOMBIE:
                    found.append(pid)
        return found

    def end(self) -> None:
        """Kill what a trial that was broken off has left running."""
        for pid in self.running(""):
            with suppress(psutil.Error):
                psutil.Process(int(pid)).kill()

    def left_of(self, request_id: str) -> list[str]:  # noqa: ARG002 - the interface
        """Return nothing: all of it lies beside the model."""
        return []

    def on_create(self, act: Callable[[], object]) -> None:
        """Do nothing: who starts a process here has its answer."""

    def disturb(self, dice: random.Random) -> None:
        """Do nothing: there is no network."""

    def is_still_disturbed(self) -> bool:
        """Tell that it is not."""
        return False

    def _lines(self, request_id: str) -> list[tuple[str, str]]:
        lines = self._book.read_text().splitlines() if self._book.exists() else []
        parts = [line.split(" ", 2) for line in lines]
        folder = f"{run_key_of(request_id)}.training"
        return [(pid, beside) for pid, beside, spec in parts if str(Path(spec).parent).endswith(folder)]


class AwsBooks(Books):
    """SageMaker's and S3's stand-ins."""

    def __init__(self, sagemaker: SageMaker, s3: Any) -> None:
        """Keep their books."""
        self._sagemaker, self._s3 = sagemaker, s3

    def runs_of(self, request_id: str) -> list[Run]:
        """Return its training jobs."""
        jobs = [(name, job) for name, job in list(self._sagemaker.jobs.items()) if self._is_of(job, request_id)]
        spans = [
            (name, job.began, None if job.status in RUNNING else job.transitions[-1]["StartTime"], job.status)
            for name, job in jobs
        ]
        return judged((name, began, ended, status == "Completed") for name, began, ended, status in spans)

    def running(self, request_id: str) -> list[str]:
        """Return its jobs that have not ended."""
        jobs = list(self._sagemaker.jobs.items())
        return [name for name, job in jobs if self._is_of(job, request_id) and job.status in RUNNING]

    def left_of(self, request_id: str) -> list[str]:
        """Return its objects."""
        return _objects(self._s3, request_id)

    def on_create(self, act: Callable[[], object]) -> None:
        """Act whenever a training job has been created."""
        self._sagemaker.on_create = lambda _asked: act()

    def disturb(self, dice: random.Random) -> None:
        """Throttle, refuse, or do what was asked for and lose the answer."""
        action = dice.choice(("CreateTrainingJob", "DescribeTrainingJob"))
        code = dice.choice(("lost", "ThrottlingException", "ExpiredTokenException", "AccessDeniedException"))
        if code == "lost":
            self._sagemaker.lose_next(action)
        else:
            self._sagemaker.fail_next(code, action=action)

    def is_still_disturbed(self) -> bool:
        """Tell whether that call has not come."""
        return self._sagemaker.forget_faults()

    def _is_of(self, job: Any, request_id: str) -> bool:
        return {"Key": "evergreen:request", "Value": run_key_of(request_id)} in job.asked["Tags"]


class KubernetesBooks(Books):
    """The cluster's and S3's stand-ins."""

    def __init__(self, cluster: KubernetesApi, s3: Any) -> None:
        """Keep their books."""
        self._cluster, self._s3 = cluster, s3

    def runs_of(self, request_id: str) -> list[Run]:
        """Return its pods that had a process."""
        processes = [
            (pod, each) for pod, each in list(self._cluster.processes.items()) if self._is_of(each, request_id)
        ]
        return judged(
            (pod, each.process.began, each.process.ended_at, each.process.returncode == 0) for pod, each in processes
        )

    def running(self, request_id: str) -> list[str]:
        """Return its processes that live, and Jobs that have not ended, suspended ones too."""
        with self._cluster.lock:
            pods = [pod for pod, each in self._cluster.processes.items() if self._is_of(each, request_id)]
            jobs = [
                job
                for job in self._cluster.of_kind("Job")
                if self._label(request_id) in job["metadata"]["labels"].values()
            ]
            alive = [pod for pod in pods if self._cluster.processes[pod].process.poll() is None]
            return alive + [job["metadata"]["name"] for job in jobs if not _is_over(job)]

    def left_of(self, request_id: str) -> list[str]:
        """Return its objects, and what would not go with its Jobs when their time is over."""
        with self._cluster.lock:
            things = [
                f"{kind} {name}"
                for (kind, name), thing in self._cluster.things.items()
                if self._label(request_id) in thing["metadata"].get("labels", {}).values()
                and kind not in {"Job", "Pod"}
                and not thing["metadata"].get("ownerReferences")
            ]
        return things + _objects(self._s3, request_id)

    def on_create(self, act: Callable[[], object]) -> None:
        """Act whenever a Job has been created."""
        self._cluster.on_create = act

    def disturb(self, dice: random.Random) -> None:
        """Cut the connection, lose the answer, throttle, break down, or not know who asks."""
        fault = dice.choice((CUT, LOST, 429, 503, 401, 403))
        self._cluster.faults.extend([*[0] * dice.randint(0, MOST_CALLS_BEFORE), fault])

    def is_still_disturbed(self) -> bool:
        """Tell whether that call has not come."""
        left = [fault for fault in self._cluster.faults if fault]
        self._cluster.faults.clear()
        return bool(left)

    def _is_of(self, process: Any, request_id: str) -> bool:
        return self._label(request_id) in process.labels.values()

    def _label(self, request_id: str) -> str:
        return hashlib.sha256(request_id.encode()).hexdigest()[:12]


def judged(spans: Iterable[tuple[str, float, float | None, bool]]) -> list[Run]:
    """Return runs by (name, began, ended, made a model)."""
    ordered, found = sorted(spans, key=lambda span: span[1]), []
    for number, (name, began, _, _) in enumerate(ordered):
        found.append(Run(name, any(made or ended is None or ended > began for _, _, ended, made in ordered[:number])))
    return found


def _objects(s3: Any, request_id: str) -> list[str]:
    keys = [each["Key"] for each in s3.list_objects_v2(Bucket=BUCKET).get("Contents", [])]
    return [key for key in keys if f"/{run_key_of(request_id)}/" in key]


def _is_over(job: dict[str, Any]) -> bool:
    return any(each["type"] in {"Complete", "Failed"} for each in job["status"].get("conditions", []))
