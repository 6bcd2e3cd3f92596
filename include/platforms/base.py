"""This file says what a platform is: the few things that every place where a training can run has to be able to do.

What they have in common, whichever place it is: a job's name comes from pipeline, request and the ledger's attempt, so
that a retry finds the job again instead of paying for a second one; the attempt grows only after the job before was
seen to have ended; whoever is killed stops its job; what outlives its lease is stopped by `sweep`, found by its mark.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, ClassVar, Literal

from include.finding import Finding
from include.training.spec import Spec

State = Literal[
    "running",  # or still waiting for a machine
    "succeeded",
    "interrupted",  # asked to end by the platform (spot), or by SIGTERM: the next attempt goes on from its checkpoint
    "refused",  # these data or settings cannot be trained with: another attempt would end the same
    "failed",
    "gone",  # the platform knows no job of that name
]


@dataclass(frozen=True)
class Order:
    """What is wanted: one attempt at one training."""

    name: str  # what the platform knows the job by; the same for the same pipeline, request and attempt
    spec: Spec
    lease_until: datetime
    is_spot: bool = False  # may be interrupted, and costs less; the last attempt after several interruptions is not


@dataclass(frozen=True)
class Job:
    """One job, as it is found again."""

    name: str
    detail: dict[str, Any] = field(default_factory=dict)  # what this platform needs besides the name


@dataclass(frozen=True)
class Status:
    """What the platform says of a job."""

    state: State
    reason: str = ""  # why it ended as it did, in the platform's words
    seconds: float | None = None  # that are paid for, as far as is known


@dataclass(frozen=True)
class Leased:
    """A job that is running and carries Evergreen's mark, whether the ledger knows it or not."""

    job: Job
    pipeline: str
    lease_until: datetime


@dataclass(frozen=True)
class Outline:
    """What an order becomes, in words: read from what would be sent, so that it is what would be sent."""

    operator: str
    resource: str
    image: str
    network: str
    identity: str
    files: str
    interruption: str
    end: str


class Platform(ABC):
    """One place where trainings run. All calls but `follow` return within seconds.

    Whatever the place's API throws at a bad moment (throttling, a lost connection, expired credentials) is raised as
    `PlatformError`, which is tried again; `PlatformRefusedError` says what no other try would mend.
    """

    name: ClassVar[str]
    is_remote: ClassVar[bool] = True  # its jobs run without this machine: who waits for one need not stay

    @abstractmethod
    def submit(self, order: Order) -> Job:
        """Start the job, or return the one of that name: never two of them, whoever was killed in between."""

    @abstractmethod
    def status(self, job: Job) -> Status:
        """Return what became of a job."""

    @abstractmethod
    def follow(self, job: Job) -> Iterator[str]:
        """Yield the lines of a job's output until it has ended."""

    @abstractmethod
    def where(self, job: Job) -> str:
        """Return the command by which a person sees the job's output as it grows."""

    @abstractmethod
    def stop(self, job: Job) -> None:
        """Have a job end; one that has ended, or that nobody knows, is none to complain about."""

    @abstractmethod
    def collect(self, job: Job, spec: Spec) -> None:
        """Bring the model of a job that succeeded to the spec's folder, whole or not at all."""

    @abstractmethod
    def leased(self) -> list[Leased]:
        """Return all running jobs with Evergreen's mark, as the platform knows them."""

    @abstractmethod
    def clean_up(self, job: Job) -> None:
        """Remove what an ended job has left on the platform and nobody needs any more."""

    @abstractmethod
    def describe(self, order: Order) -> Outline:
        """Return what an order would become; nobody is asked, nothing is started.

        :raises ConfigError: if the settings do not say it.
        :raises PlatformRefusedError: if such a training cannot run there.
        """

    @abstractmethod
    def check(self, order: Order) -> Iterator[Finding]:
        """Yield what a look at all that an order needs gives, within seconds; nothing is started, nothing is left."""
