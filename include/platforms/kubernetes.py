"""This file trains on a Kubernetes cluster: a Job for each attempt, its files on a storage that both sides reach."""

import logging
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from include.errors import PlatformError
from include.finding import Finding
from include.platforms import inputs, storage
from include.platforms.base import Job, Leased, Order, Outline, Platform, Status
from include.platforms.kubernetes_api import Api
from include.platforms.kubernetes_check import check_cluster
from include.platforms.kubernetes_plan import outline_of
from include.platforms.kubernetes_settings import KubernetesSettings, load_kubernetes_settings
from include.platforms.kubernetes_status import is_over, status_of, waiting
from include.platforms.manifests import LEASE, MARK, NAME, STORAGE, belongings_of, cluster_name, job_of
from include.training.finished import is_finished
from include.training.spec import Spec

log = logging.getLogger(__name__)

# It is to have no pods, and has had its time. One that is still suspended begins for that: such a Job has no time, and
# would never end. A deadline may be changed (`updateJob` in Kubernetes' pkg/controller/job/job_controller.go).
STOPPED = {"parallelism": 0, "activeDeadlineSeconds": 1, "suspend": False}
PATIENCE = 5  # failures in a row, after which a log is left to the caller's next try


class Kubernetes(Platform):
    """The namespace of a cluster.

    :param settings: those of config/platforms/kubernetes.yaml, if not given.
    """

    name: ClassVar[str] = "kubernetes"

    def __init__(self, settings: KubernetesSettings | None = None) -> None:
        """Read the settings; credentials are read when the cluster is first asked."""
        self._settings = settings or load_kubernetes_settings()

    @cached_property
    def _api(self) -> Api:
        return Api(self._settings)

    def submit(self, order: Order) -> Job:
        """Take the rows to the storage and create the Job, or go on where an earlier call was killed."""
        uri = inputs.storage_of(order.spec, self._settings.storage)
        name = cluster_name(order.name)
        job = self._api.get("Job", name)
        if job is None:
            wanted = job_of(order, self._settings, uri, datetime.now(UTC))
            with _storage_errors(uri):
                inputs.put_input(order.spec, uri)
            job = self._api.create(wanted) or self._found(name)
        if job["spec"].get("suspend") and not is_over(job):
            for manifest in belongings_of(order, self._settings, job["metadata"]["uid"]):
                self._api.create(manifest)
            self._api.patch("Job", name, {"spec": {"suspend": False}})
        return _job(job)

    def status(self, job: Job) -> Status:
        """Return what became of it."""
        found = self._api.get("Job", cluster_name(job.name))
        return status_of(found, self._pods(job) if found else [], datetime.now(UTC))

    def follow(self, job: Job) -> Iterator[str]:
        """Yield the first pod's output, and what it waits for before there is any; a lost connection is taken up."""
        output, failures = Output(self._api), 0
        while True:
            try:
                found = self._api.get("Job", cluster_name(job.name))
                failures = failures if found and is_over(found) else 0
                yield from output.new(found, self._pods(job)) if found else ()
                if found is None or is_over(found):
                    return
            except PlatformError as error:
                failures += 1
                if failures == PATIENCE:
                    raise
                log.warning("%s; asked again", error)
            time.sleep(self._settings.poll_seconds)

    def where(self, job: Job) -> str:
        """Return how the first pod's output is read."""
        return f"kubectl logs --follow --namespace {self._settings.namespace} job/{cluster_name(job.name)}"

    def stop(self, job: Job) -> None:
        """Have the Job fail; its pods have time to save their state. It stays: its name is not given again."""
        name = cluster_name(job.name)
        if (found := self._api.get("Job", name)) and not is_over(found):
            self._api.patch("Job", name, {"spec": STOPPED})

    def collect(self, job: Job, spec: Spec) -> None:
        """Bring the model from the storage, make sure that it is the one that was put there, and move it into place."""
        if is_finished(spec):
            return
        uri = self._uri(job, spec)
        spec.folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".training-", dir=spec.folder.parent) as scratch, _storage_errors(uri):
            folder = Path(scratch) / "model"
            storage.fetch_folder(f"{uri}/model", folder)
            shutil.rmtree(spec.folder, ignore_errors=True)
            folder.replace(spec.folder)

    def leased(self) -> list[Leased]:
        """Return all of Evergreen's Jobs in the namespace that have not ended."""
        return [_leased(job) for job in self._api.list("Job", MARK) if not is_over(job)]

    def clean_up(self, job: Job) -> None:
        """Remove what all attempts of the job's request were sent and left on the storage.

        The Job stays until its time is over (`kept_seconds`): as long as it is there, no other can have its name.
        """
        uri = job.detail.get("storage")
        if uri:
            with _storage_errors(uri):
                storage.remove(uri.rpartition("/")[0])  # the request's: Arrow leaves an empty object for its parent

    def describe(self, order: Order) -> Outline:
        """Return what a cluster would be asked for.

        :raises ConfigError: if `machines` does not say what a pod of that accelerator asks for.
        :raises PlatformRefusedError: if a cluster cannot run it.
        """
        return outline_of(self._manifest(order), belongings_of(order, self._settings, ""))

    def check(self, order: Order) -> Iterator[Finding]:
        """Yield whether the cluster answers, has what the Job names, and lets these credentials do what is needed."""
        yield from check_cluster(self._manifest(order), self._settings)

    def _manifest(self, order: Order) -> dict[str, Any]:
        uri = inputs.storage_of(order.spec, self._settings.storage)
        return job_of(order, self._settings, uri, datetime.now(UTC))

    def _pods(self, job: Job) -> list[dict[str, Any]]:
        return sorted(self._api.list("Pod", {NAME: cluster_name(job.name)}), key=_index)

    def _found(self, name: str) -> dict[str, Any]:
        job = self._api.get("Job", name)
        if job is None:
            raise PlatformError(f"The Job {name} was there and is gone again: somebody else has removed it.")
        return job

    def _uri(self, job: Job, spec: Spec) -> str:
        return str(job.detail.get("storage") or inputs.storage_of(spec, self._settings.storage))


class Output:
    """The first pod's output, as far as it was read."""

    def __init__(self, api: Api) -> None:
        """Begin at the beginning."""
        self._api = api
        self._since = self._told = ""

    def new(self, job: dict[str, Any], pods: list[dict[str, Any]]) -> Iterator[str]:
        """Yield what was not yielded yet, until the pod ends or the connection does."""
        if (why := waiting(job, pods)) and why != self._told:
            self._told = why
            yield why
        if not (pods and _has_begun(pods[0])):
            return
        for line in self._api.log(pods[0]["metadata"]["name"], self._since or None):
            at, _, text = line.partition(" ")
            if at > self._since:  # asked from a time on, the API begins with that whole second
                self._since = at
                yield text


def _job(found: dict[str, Any]) -> Job:
    told = found["metadata"]["annotations"]
    return Job(told[NAME], {"storage": told[STORAGE]})


def _leased(found: dict[str, Any]) -> Leased:
    metadata = found["metadata"]
    return Leased(
        _job(found), metadata["labels"]["evergreen/pipeline"], datetime.fromisoformat(metadata["annotations"][LEASE])
    )


def _index(pod: dict[str, Any]) -> int:
    return int(pod["metadata"].get("annotations", {}).get("batch.kubernetes.io/job-completion-index", 0))


def _has_begun(pod: dict[str, Any]) -> bool:
    states = [each["state"] for each in pod["status"].get("containerStatuses", [])]
    return any("running" in state or "terminated" in state for state in states)


@contextmanager
def _storage_errors(uri: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise PlatformError(f"{uri} did not answer, or refused: {error}") from error
