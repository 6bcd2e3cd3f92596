"""What the contract has to do to a platform from outside: one class each, and a line in `PLACES`."""

import os
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

from include.platforms import platform_named
from include.platforms.base import Job, Platform
from include.training.spec import Spec


class Place(ABC):
    """A platform's stand-in, seen from behind."""

    name: str

    def __init__(self, fixtures: Callable[[str], Any]) -> None:
        self.fixtures = fixtures

    def platform(self) -> Platform:
        """Return the platform as another process would see it: an object that knows nothing of earlier ones."""
        return platform_named(self.name)

    @abstractmethod
    def interrupt(self, job: Job) -> None:
        """Take a job's machine away for good."""

    @abstractmethod
    def has_saved(self, job: Job, spec: Spec) -> bool:
        """Tell whether the job has left a checkpoint that the next attempt will find."""

    @abstractmethod
    def left(self, job: Job) -> list[str]:
        """Return what is still on the platform of a job."""


class LocalPlace(Place):
    name = "local"

    def interrupt(self, job: Job) -> None:
        os.kill(job.detail["pid"], 15)

    def has_saved(self, job: Job, spec: Spec) -> bool:
        return any(spec.scratch.glob("checkpoints/*/*.npz"))

    def left(self, job: Job) -> list[str]:
        return []


class AwsPlace(Place):
    name = "aws"

    def __init__(self, fixtures: Callable[[str], Any]) -> None:
        super().__init__(fixtures)
        self.sagemaker, self.objects = fixtures("sagemaker"), fixtures("objects")

    def interrupt(self, job: Job) -> None:
        self.sagemaker.interrupt(job.name, comes_back=False)

    def has_saved(self, job: Job, spec: Spec) -> bool:
        return any(key.startswith(f"{job.detail['folder']}/checkpoints/") for key in self.objects())

    def left(self, job: Job) -> list[str]:
        return [key for key in self.objects() if key.startswith(f"{job.detail['folder']}/")]


class KubernetesPlace(Place):
    name = "kubernetes"

    def __init__(self, fixtures: Callable[[str], Any]) -> None:
        super().__init__(fixtures)
        self.cluster, self.objects = fixtures("cluster"), fixtures("objects")

    def interrupt(self, job: Job) -> None:
        self.cluster.interrupt(job.name)

    def has_saved(self, job: Job, spec: Spec) -> bool:
        return any("/checkpoints/" in name for name in self._stored(job))

    def left(self, job: Job) -> list[str]:
        return self._stored(job)  # the Job goes when its time is over

    def _stored(self, job: Job) -> list[str]:
        of_request = job.detail["storage"].removeprefix("s3://evergreen-test/").rpartition("/")[0]
        return [key for key in self.objects() if key.startswith(f"{of_request}/")]


PLACES = {place.name: place for place in (LocalPlace, AwsPlace, KubernetesPlace)}


def wait_for(condition: Callable[[], bool], seconds: float = 240) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.05)
