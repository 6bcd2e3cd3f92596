"""This file is what stands behind the stand-in's API: things by name, and the controllers that make pods of Jobs.

It does what Kubernetes' own Job controller does with the Jobs that Evergreen makes: suspended ones wait, Indexed ones
get their pods, a pod's end is judged by the pod failure policy, a failing Job ends its pods before it has failed, what
is deleted in the foreground is there until its pods have ended, and takes what it owns with it.
"""

import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

from tests.cloud.kubernetes_pod import Process, now
from tests.warm import TRAININGS

Thing = dict[str, Any]

JOB_NAME, INDEX = "batch.kubernetes.io/job-name", "batch.kubernetes.io/job-completion-index"


class Cluster:
    """One namespace."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.things: dict[tuple[str, str], Thing] = {}
        self.processes: dict[str, Process] = {}  # by pod
        self.secrets: dict[str, dict[str, str]] = {}
        self.lock = threading.RLock()
        self.is_full = False  # no machine is free
        self.created: list[str] = []  # Jobs, ever
        self.on_create: Callable[[], object] = lambda: None
        self._ports: dict[str, int] = {}
        self._stopped = threading.Event()
        TRAININGS.make_ready()  # nobody could ask while the controller waits for that
        self._controller = threading.Thread(target=self._run, daemon=True)
        self._controller.start()

    def close(self) -> None:
        self._stopped.set()
        self._controller.join()
        for process in self.processes.values():
            process.kill()

    def of_kind(self, kind: str) -> list[Thing]:
        return [thing for (each, _), thing in self.things.items() if each == kind]

    def add(self, thing: Thing) -> Thing:
        kind, name = thing["kind"], thing["metadata"]["name"]
        thing["metadata"] |= {"uid": str(uuid4()), "creationTimestamp": now(), "resourceVersion": "1"}
        if kind == "Job":
            thing["status"] = {}
            self.created.append(name)
            self.on_create()
        self.things[kind, name] = thing
        return thing

    def delete(self, thing: Thing) -> None:
        """In the foreground: it goes when its pods have gone."""
        if thing["kind"] != "Job":
            del self.things[thing["kind"], thing["metadata"]["name"]]
            return
        thing["metadata"].setdefault("deletionTimestamp", now())
        self._end_pods(thing)

    def let_time_go_by(self) -> None:
        """Have the time over for which ended Jobs are kept."""
        with self.lock:
            for job in self.of_kind("Job"):
                job["spec"]["ttlSecondsAfterFinished"] = 0

    def pods_of(self, job: Thing) -> list[Thing]:
        return [pod for pod in self.of_kind("Pod") if pod["metadata"]["labels"][JOB_NAME] == job["metadata"]["name"]]

    def interrupt(self, job: str, reason: str = "TerminationByKubelet") -> None:
        """Take a Job's machines away, as spot markets do: with notice."""
        with self.lock:
            for pod in self.pods_of(self.things["Job", job]):
                said = {"reason": reason, "message": "Pod was terminated in response to imminent node shutdown."}
                _note(pod, "DisruptionTarget", **said)
                self.processes[pod["metadata"]["name"]].terminate(pod["spec"]["terminationGracePeriodSeconds"])

    def run_out_of_memory(self, job: str) -> None:
        with self.lock:
            for pod in self.pods_of(self.things["Job", job]):
                self.processes[pod["metadata"]["name"]].kill("OOMKilled")

    def _run(self) -> None:
        while not self._stopped.wait(0.05):
            with self.lock:
                for job in self.of_kind("Job"):
                    self._control(job)

    def _control(self, job: Thing) -> None:
        pods = self.pods_of(job)
        for pod in pods:
            self._look_at(pod)
        if "deletionTimestamp" in job["metadata"]:
            if not any(self._lives(pod) for pod in pods):
                self._collect_garbage(job)
            return
        if over := _has(job, "Complete") or _has(job, "Failed"):
            ended = datetime.fromisoformat(over["lastTransitionTime"])
            if (datetime.now(UTC) - ended).total_seconds() >= job["spec"]["ttlSecondsAfterFinished"]:
                self._collect_garbage(job)
            return
        if job["spec"].get("suspend"):
            return
        job["status"].setdefault("startTime", now())
        missing = range(job["spec"]["parallelism"]) if not pods else ()
        for index in missing:
            self._make_pod(job, index)
        self._judge(job, pods)

    def _judge(self, job: Thing, pods: list[Thing]) -> None:
        if failing := _has(job, "FailureTarget"):
            if not any(self._lives(pod) for pod in pods):
                _note(job, "Failed", reason=failing["reason"], message=failing["message"])
            return
        began = datetime.fromisoformat(job["status"]["startTime"])
        failed = [pod for pod in pods if pod["status"]["phase"] == "Failed"]
        if (datetime.now(UTC) - began).total_seconds() > job["spec"]["activeDeadlineSeconds"]:
            why = ("DeadlineExceeded", "Job was active longer than specified deadline")
        elif failed:
            why = _verdict(job, failed[0])
        elif pods and all(pod["status"]["phase"] == "Succeeded" for pod in pods):
            _note(job, "Complete", reason="CompletionsReached", message="Reached expected number of succeeded pods")
            return
        else:
            return
        _note(job, "FailureTarget", reason=why[0], message=why[1])
        self._end_pods(job)

    def _make_pod(self, job: Thing, index: int) -> None:
        template, name = job["spec"]["template"], job["metadata"]["name"]
        labels = {**template["metadata"]["labels"], JOB_NAME: name}
        metadata = {"name": f"{name}-{index}-{uuid4().hex[:5]}", "labels": labels, "annotations": {INDEX: str(index)}}
        status = {"phase": "Pending", "conditions": []}
        self.add({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"], "status": status})

    def _look_at(self, pod: Thing) -> None:
        name, status = pod["metadata"]["name"], pod["status"]
        if status["phase"] == "Pending":
            if self.is_full:
                _note(pod, "PodScheduled", "False", reason="Unschedulable", message="0/3 nodes are available")
                return
            _note(pod, "PodScheduled")
            secrets, configs = self.secrets, lambda config: self.things["ConfigMap", config]
            self.processes[name] = Process(pod, self.folder / name, secrets, configs, self._address)
            status |= {"phase": "Running", "startTime": now()}
            status["containerStatuses"] = [{"name": "training", "state": {"running": {"startedAt": now()}}}]
        elif status["phase"] == "Running" and (ended := self.processes[name].ended()):
            status["phase"] = "Failed" if ended["exitCode"] else "Succeeded"
            status["containerStatuses"] = [{"name": "training", "state": {"terminated": ended}}]

    def _lives(self, pod: Thing) -> bool:
        process = self.processes.get(pod["metadata"]["name"])
        return bool(process and process.process.poll() is None)

    def _end_pods(self, job: Thing) -> None:
        for pod in self.pods_of(job):
            if self._lives(pod):
                self.processes[pod["metadata"]["name"]].terminate(pod["spec"]["terminationGracePeriodSeconds"])
            elif pod["status"]["phase"] == "Pending":
                del self.things["Pod", pod["metadata"]["name"]]

    def _collect_garbage(self, job: Thing) -> None:
        for key, thing in list(self.things.items()):
            owners = [owner["uid"] for owner in thing["metadata"].get("ownerReferences", [])]
            if job["metadata"]["uid"] in owners:
                del self.things[key]
        for pod in self.pods_of(job):
            del self.things["Pod", pod["metadata"]["name"]]
        del self.things["Job", job["metadata"]["name"]]

    def _address(self, name: str) -> str:
        """Return where a pod's name leads: to a port of this machine, if there is a Service for it."""
        service = self.things["Service", name.partition(".")[2].partition(":")[0]]
        assert service["spec"]["clusterIP"] == "None"
        if name not in self._ports:
            with socket.socket() as found:
                found.bind(("127.0.0.1", 0))
                self._ports[name] = found.getsockname()[1]
        return f"127.0.0.1:{self._ports[name]}"


def _verdict(job: Thing, pod: Thing) -> tuple[str, str]:
    """Return reason and message of a Job whose pod has failed, as its rules say."""
    (container,) = pod["status"]["containerStatuses"]
    code, name = container["state"]["terminated"]["exitCode"], f"default/{pod['metadata']['name']}"
    for number, rule in enumerate(job["spec"]["podFailurePolicy"]["rules"]):
        said = f"matching {rule['action']} rule at index {number}"
        for condition in rule.get("onPodConditions", []):
            if _has(pod, condition["type"]):
                return "PodFailurePolicy", f"Pod {name} has condition {condition['type']} {said}"
        if code in rule.get("onExitCodes", {}).get("values", []):
            return "PodFailurePolicy", f"Container training for pod {name} failed with exit code {code} {said}"
    return "BackoffLimitExceeded", "Job has reached the specified backoff limit"


def _has(thing: Thing, kind: str) -> Thing | None:
    found = thing["status"].get("conditions", [])
    return next((each for each in found if each["type"] == kind and each["status"] == "True"), None)


def _note(thing: Thing, kind: str, status: str = "True", **why: str) -> None:
    others = [each for each in thing["status"].get("conditions", []) if each["type"] != kind]
    thing["status"]["conditions"] = [*others, {"type": kind, "status": status, "lastTransitionTime": now(), **why}]


def wait_for(condition: Any, seconds: float = 120) -> Any:
    """Return what a condition gives once that is something."""
    until = time.monotonic() + seconds
    while True:
        with suppress(KeyError):
            if found := condition():
                return found
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.05)
