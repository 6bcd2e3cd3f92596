"""This file takes a request's training through its platform: ordered once, followed, brought home, paid.

Whoever asks again for the same request is given the same job, as long as it was not seen to have ended.
"""

import logging
import shutil
from collections.abc import Iterator
from dataclasses import replace
from typing import NoReturn

from include.accelerators import price_per_hour
from include.errors import (
    ArtefactError,
    BadTrainingInputError,
    ConfigError,
    PlatformError,
    TrainingFailedError,
    TrainingInterruptedError,
)
from include.jobs import Wanted
from include.ledger import Attempt, jobs, open_ledger
from include.pipeline import Pipeline
from include.platforms import platform_named, watching
from include.platforms.base import Job, Order, Platform, Status
from include.training.finished import is_finished
from include.training.plan import plan
from include.training.spec import Spec, model_folder, read_spec, work_folder

log = logging.getLogger(__name__)

TRIED_AGAIN = {"interrupted", "failed"}


class Ordered:
    """One attempt, and the job that it is on its platform."""

    def __init__(self, attempt: Attempt, spec: Spec) -> None:
        self.attempt = attempt
        self.spec = spec
        self.platform = platform_named(attempt.platform)
        self.job = Job(attempt.name, attempt.detail)

    @property
    def is_home(self) -> bool:
        """Tell whether its model had come home before: there is nothing to run, and perhaps something to remove."""
        return self.attempt.status == "succeeded"

    def submit(self) -> None:
        """Start the job, or find it again, and keep what that takes."""
        attempt = self.attempt
        if self.is_home:
            log.info("%s has ended, and its model is here", attempt.name)
            return
        # The mark of a training that has begun: whatever is published meanwhile, its next attempt has the same rows.
        self.spec.scratch.mkdir(parents=True, exist_ok=True)
        self.job = self.platform.submit(Order(attempt.name, self.spec, attempt.lease_until, attempt.is_spot))
        with open_ledger() as session:
            jobs.keep_detail(session, attempt.name, self.job.detail)
        log.info(
            "Attempt %s runs on %s as %s until %s at the latest, estimated at %.2f. See it with: %s",
            attempt.attempt, attempt.platform, attempt.name, attempt.lease_until, attempt.estimate,
            self.platform.where(self.job),
        )  # fmt: skip

    def may_be_left(self) -> bool:
        """Tell whether it runs on by itself, elsewhere, and needs nobody beside it until it has ended."""
        return self.platform.is_remote and self.platform.status(self.job).state == "running"

    def follow(self) -> Iterator[str]:
        """Yield what the job writes until it has ended."""
        if not self.is_home:
            yield from self.platform.follow(self.job)

    def settle(self) -> None:
        """Bring the model home, enter what the job has cost, and remove what it has left.

        :raises BadTrainingInputError: if these data or settings cannot be trained with.
        :raises TrainingInterruptedError: if it was asked to end; the next attempt goes on.
        :raises TrainingFailedError: if it ended without a model otherwise.
        :raises ArtefactError: if what came back is not the model; the attempt is over then.
        :raises PlatformError: if it has not ended; the next try follows it on.
        """
        if self.is_home:
            self._clean_up()
            return
        status = self.platform.status(self.job)
        if status.state in {"running", "gone"}:  # one that is only not found yet must not become two
            raise PlatformError(f"{self.job.name} is lost from sight ({status.state}): the next try looks for it.")
        if status.state == "succeeded":
            self._bring_home(status)
        self.close(status)
        if status.state in {"succeeded", "refused"}:
            shutil.rmtree(self.spec.scratch, ignore_errors=True)
        if status.state != "succeeded":
            self._complain(status)
        self._clean_up()

    def _clean_up(self) -> None:
        try:
            clean_up(self.platform, self.job)
        except (PlatformError, ValueError) as error:  # the model is here: that is what counts
            log.warning("What %s has left on %s is removed by `sweep`: %s", self.job.name, self.platform.name, error)

    def _bring_home(self, status: Status) -> None:
        try:
            self.platform.collect(self.job, self.spec)
        except ArtefactError as error:  # the next attempt may do better, this one was paid for nothing
            self.close(replace(status, state="failed", reason=str(error)))
            raise

    def close(self, status: Status) -> None:
        """Enter how the job has ended and what it has cost."""
        with open_ledger() as session:
            jobs.end(session, self.job.name, status.state, reason=status.reason, seconds=status.seconds)
            self.attempt = session.get_one(Attempt, self.job.name)

    def stop(self, why: str) -> None:
        """Have the job end; should it go on all the same, `sweep` stops it."""
        watching.stop(self.attempt.name, why)

    def _complain(self, status: Status) -> NoReturn:
        what = f"Training for {self.attempt.request_id} ({self.job.name})"
        why = self.attempt.reason  # the platform's, and before it that of whoever has told it to end
        if status.state == "refused":
            raise BadTrainingInputError(f"{what} refused its input: {why}")
        if status.state == "interrupted":
            raise TrainingInterruptedError(f"{what} was asked to end: {why}")
        raise TrainingFailedError(f"{what} {status.state}: {why}")


def order(pipeline: Pipeline, request_id: str) -> Ordered:
    """Return what was ordered for a request and is open, or enter the next attempt; nothing is started yet.

    :raises BudgetError: if a new attempt could cost more than is left.
    """
    with open_ledger() as session:
        attempt = jobs.newest_attempt(session, request_id)
    if attempt and attempt.status == "open":
        ordered = Ordered(attempt, _spec_of(pipeline, request_id))
        status = ordered.platform.status(ordered.job)
        if status.state not in TRIED_AGAIN:
            return ordered
        ordered.close(status)  # nobody saw it end: this try need not begin with that failure
        log.info("%s has ended meanwhile (%s): %s", attempt.name, status.state, status.reason)
    spec = read_spec(plan(pipeline, request_id))
    if attempt and attempt.status == "succeeded" and is_finished(spec):
        return Ordered(attempt, spec)  # the try before was killed after it had brought the model home
    with open_ledger() as session:
        return Ordered(jobs.next_attempt(session, wanted(pipeline, spec)), spec)


def is_under_way(request_id: str) -> bool:
    """Tell whether a request's job runs, or has ended with something that its task has yet to bring home or to say.

    Its worker may have been lost: whoever follows it on starts nothing.
    """
    with open_ledger() as session:
        attempt = jobs.newest_attempt(session, request_id)
    if attempt is None or attempt.status != "open":
        return False
    status = platform_named(attempt.platform).status(Job(attempt.name, attempt.detail))
    return status.state not in {*TRIED_AGAIN, "gone"}


def ordered_last(pipeline: Pipeline, request_id: str) -> Ordered:
    """Return what was ordered last for a request, whatever has become of it meanwhile."""
    with open_ledger() as session:
        attempt = jobs.attempts_of(session, request_id)[-1]
    return Ordered(attempt, _spec_of(pipeline, request_id))


def clean_up(platform: Platform, job: Job) -> None:
    """Remove what a job has left on its platform, and note that nothing of it is there any more."""
    platform.clean_up(job)
    with open_ledger() as session:
        jobs.keep_detail(session, job.name, {})


def wanted(pipeline: Pipeline, spec: Spec) -> Wanted:
    """Return what is to be ordered; the cheap repairs, which take seconds, are made here."""
    platform, compute = pipeline.platform if spec.repair == "retrain" else "local", pipeline.compute
    return Wanted(
        pipeline=pipeline.name,
        request_id=spec.request_id,
        platform=platform,
        accelerator=spec.training.accelerator,
        price_per_hour=price_per_hour(spec.training.accelerator, platform),
        max_seconds=compute.max_hours * 3600,
        is_spot_welcome=compute.spot and platform != "local",
        on_demand_after=compute.on_demand_after,
        budget_per_month=compute.budget_per_month,
    )


def _spec_of(pipeline: Pipeline, request_id: str) -> Spec:
    try:
        return read_spec(work_folder(model_folder(pipeline.name, request_id)) / "spec.json")
    except ConfigError:  # it went with its folder
        return read_spec(plan(pipeline, request_id))
