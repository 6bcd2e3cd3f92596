"""This file runs trainings as SageMaker training jobs: found by name, stopped by name, never paid for twice."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

from include.accelerators import machine_for
from include.errors import PlatformRefusedError
from include.finding import Finding
from include.jobs import PREFIX
from include.platforms.aws_check import check_account
from include.platforms.aws_errors import code_of, is_unknown, said_plainly
from include.platforms.aws_files import Bucket
from include.platforms.aws_logs import GROUP, Logs
from include.platforms.aws_plan import outline_of
from include.platforms.aws_request import job_request, lease_in, request_folder, status_of
from include.platforms.aws_settings import aws_settings
from include.platforms.base import Job, Leased, Order, Outline, Platform, Status
from include.training.spec import Spec

POLL_SECONDS = 10.0
RUNNING = {"InProgress", "Stopping"}


class Aws(Platform):
    """SageMaker. A job's name, which may be used once in an account and region, is all that finds it."""

    name = "aws"

    def __init__(self) -> None:
        self._settings = aws_settings()

    def submit(self, order: Order) -> Job:
        """Send spec and rows and create the training job; the one of that name is returned."""
        job = Job(order.name, {"folder": request_folder(order.spec, self._settings)})
        if described := self._describe(job):
            self._check_ours(described, job)
            return job
        with said_plainly(f"submit {order.name}"):
            self._bucket.send_rows(order.spec)
            self._bucket.send_spec(order.name, order.spec)
            try:
                self._client("sagemaker").create_training_job(**self._request(order))
            except ClientError as error:
                # Another try was quicker, or this one's answer was lost on its way here.
                if code_of(error) != "ResourceInUse":
                    raise
        return job

    def status(self, job: Job) -> Status:
        """Return what SageMaker says of the job; what is billed are its billable seconds, also of spot machines."""
        described = self._describe(job)
        return status_of(described) if described else Status("gone")

    def follow(self, job: Job) -> Iterator[str]:
        """Yield each new word of SageMaker's on the job, and what the container writes, until the job has ended."""
        logs, told = Logs(self._client("logs"), job.name), 0
        while described := self._describe(job):
            transitions = described.get("SecondaryStatusTransitions") or []
            for step in transitions[told:]:
                yield f"SageMaker: {step['Status']}: {step.get('StatusMessage', '')}".rstrip(": ")
            told = len(transitions)
            yield from logs.new_lines()
            if described["TrainingJobStatus"] not in RUNNING:
                break
            time.sleep(POLL_SECONDS)

    def where(self, job: Job) -> str:
        """Return how its lines are read from CloudWatch."""
        return f"aws logs tail {GROUP} --log-stream-name-prefix {job.name}/ --follow --region {self._settings.region}"

    def stop(self, job: Job) -> None:
        """Have SageMaker stop the job: it is given two minutes to save its state."""
        with said_plainly(f"stop {job.name}"):
            try:
                self._client("sagemaker").stop_training_job(TrainingJobName=job.name)
            except ClientError as error:
                # "The request was rejected because the training job is in status Completed."
                if not is_unknown(error) and "in status" not in str(error):
                    raise

    def collect(self, job: Job, spec: Spec) -> None:
        """Fetch the job's model from S3.

        :raises ArtefactError: if it is not this request's, whole and unaltered.
        """
        described = self._describe(job) or {}
        with said_plainly(f"fetch the model of {job.name}"):
            self._bucket.fetch_model(described["ModelArtifacts"]["S3ModelArtifacts"], spec)

    def leased(self) -> list[Leased]:
        """Return the running jobs of this account and region that carry Evergreen's tags."""
        found, client = [], self._client("sagemaker")
        with said_plainly("list running jobs"):
            pages = client.get_paginator("list_training_jobs")
            for page in pages.paginate(StatusEquals="InProgress", NameContains=f"{PREFIX}-"):
                for each in page["TrainingJobSummaries"]:
                    lease = lease_in(client.list_tags(ResourceArn=each["TrainingJobArn"])["Tags"])
                    if lease:
                        found.append(Leased(Job(each["TrainingJobName"]), *lease))
        return found

    def clean_up(self, job: Job) -> None:
        """Remove what all attempts of the job's request were sent and left on S3; SageMaker keeps its record."""
        if folder := job.detail.get("folder"):
            with said_plainly(f"clean up after {job.name}"):
                self._bucket.remove(folder)

    def describe(self, order: Order) -> Outline:
        """Return what SageMaker would be asked for.

        :raises ConfigError: if the accelerator's profile does not say which machine that is.
        """
        return outline_of(self._request(order))

    def check(self, order: Order) -> Iterator[Finding]:
        """Yield whether the account has what the request names, and lets these credentials use it."""
        yield from check_account(self._request(order), self._settings)

    def _request(self, order: Order) -> dict[str, Any]:
        machine = machine_for(order.spec.training.accelerator, self.name)
        return job_request(order, machine, self._settings, datetime.now(UTC))

    def _describe(self, job: Job) -> dict[str, Any] | None:
        with said_plainly(f"describe {job.name}"):
            try:
                return dict(self._client("sagemaker").describe_training_job(TrainingJobName=job.name))
            except ClientError as error:
                if is_unknown(error):
                    return None
                raise

    def _check_ours(self, described: dict[str, Any], job: Job) -> None:
        output = described["OutputDataConfig"]["S3OutputPath"]
        if output != (ours := f"s3://{self._settings.bucket}/{job.detail['folder']}/output"):
            raise PlatformRefusedError(
                f"AWS has a training job {job.name} already, which writes to {output} and not to {ours}: another "
                "installation's. Give each its own account or region."
            )

    @cached_property
    def _bucket(self) -> Bucket:
        return Bucket(self._client("s3"), self._settings)

    def _client(self, service: str) -> Any:
        # Throttling and lost connections are tried again by boto3 itself, with backoff.
        config = Config(retries={"mode": "standard", "max_attempts": 5}, connect_timeout=10, read_timeout=60)
        return boto3.client(service, region_name=self._settings.region, config=config)
