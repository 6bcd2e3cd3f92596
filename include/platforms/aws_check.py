"""This file looks whether an AWS account has what a training job needs: it asks, and leaves nothing behind.

What these credentials may not look at is said to be unknown, not wrong: Airflow's workers need no right to look.
"""

import re
from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError
from botocore.exceptions import ConnectionError as Unreachable

from include.finding import Finding, ok, problem, unsure
from include.platforms.aws_errors import EXPIRED, code_of
from include.platforms.aws_logs import GROUP
from include.platforms.aws_settings import AwsSettings

YAML = "config/platforms/aws.yaml"
DENIED = {"AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "403", "Forbidden"}
ECR = re.compile(
    r"(?P<account>\d{12})\.dkr\.ecr\.(?P<region>[\w-]+)\.amazonaws\.com[\w.]*/"
    r"(?P<name>[^:@]+)(?::(?P<tag>[^@]+))?(?:@(?P<digest>sha256:\w+))?"
)
# A machine that hangs is no answer either: a person waits.
QUICK = Config(retries={"mode": "standard", "total_max_attempts": 2}, connect_timeout=3, read_timeout=5)

Request = dict[str, Any]


def check_account(request: Request, settings: AwsSettings) -> Iterator[Finding]:
    """Yield what was found of each thing that a request for a training job names; without credentials, no more."""
    account = Account(settings)
    who = account.who()
    yield who
    if who.verdict != "ok":
        yield unsure("all else", "not looked at: nobody answers without valid credentials")
        return
    yield account.role()
    yield from account.folder()
    yield account.image(request["AlgorithmSpecification"]["TrainingImage"])
    yield account.subnets()
    yield account.security_groups()
    machines = request["ResourceConfig"]
    is_spot = request["EnableManagedSpotTraining"]
    yield account.quota(machines["InstanceType"], machines["InstanceCount"], is_spot=is_spot)
    yield account.jobs()
    yield account.logs()
    yield unsure(
        "starting a job",
        "sagemaker:CreateTrainingJob and iam:PassRole show only when a job is started",
        "docs/platforms.md lists who may do what",
    )


class Account:
    """What can be asked of an account in one region."""

    def __init__(self, settings: AwsSettings) -> None:
        self._settings = settings
        self._number = ""

    def who(self) -> Finding:
        """Return whose the credentials are."""

        def ask() -> Finding:
            found = self._client("sts").get_caller_identity()
            self._number = found["Account"]
            return ok("credentials", found["Arn"])

        return _asked("credentials", ask, "Give Airflow's workers a role, or set AWS_PROFILE for them.")

    def role(self) -> Finding:
        """Return whether the job's role is there, and SageMaker may take it."""
        arn = self._settings.role
        account, name = arn.split(":")[4], arn.rpartition("/")[2]
        if account != self._number:
            return problem("role", f"{arn} is not of the account {self._number}", f"Correct `role` in {YAML}.")

        def ask() -> Finding:
            trusted = str(self._client("iam").get_role(RoleName=name)["Role"]["AssumeRolePolicyDocument"])
            if "sagemaker.amazonaws.com" in trusted:
                return ok("role", f"{name} is there, and trusts SageMaker")
            return problem("role", f"{name} does not trust sagemaker.amazonaws.com", "Add it to the trust policy.")

        return _asked("role", ask, f"Make it, or correct `role` in {YAML}.", right="iam:GetRole")

    def folder(self) -> Iterator[Finding]:
        """Yield whether the bucket is there, in this region, and an object below the folder can come and go."""
        s3, bucket, region = self._client("s3"), self._settings.bucket, self._settings.region

        def find() -> Finding:
            there = s3.head_bucket(Bucket=bucket).get("BucketRegion") or region
            if there != region:
                return problem("bucket", f"{bucket} is in {there}, the job in {region}", f"Make them one in {YAML}.")
            return ok("bucket", f"{bucket} is there, in {there}")

        found = _asked("bucket", find, f"Make the bucket, or correct `folder` in {YAML}.", is_needed=True)
        yield found
        if found.verdict == "ok":
            remedy = "Let the identity that Airflow's workers run as list, read, write and delete there."
            yield _asked("folder", lambda: self._touch(s3, bucket), remedy, is_needed=True)

    def _touch(self, s3: Any, bucket: str) -> Finding:
        prefix, key = self._settings.prefix, f"{self._settings.prefix}/.plan-{uuid4().hex}"
        seal = self._settings.kms_key
        s3.list_objects_v2(Bucket=bucket, Prefix=f"{prefix}/", MaxKeys=1)
        s3.put_object(
            Bucket=bucket,
            Key=key,
            Body=b"",
            **({"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": seal} if seal else {}),
        )
        s3.get_object(Bucket=bucket, Key=key)
        s3.delete_object(Bucket=bucket, Key=key)
        return ok("folder", f"an empty object below {prefix}/ was listed for, written, read and deleted")

    def image(self, image: str) -> Finding:
        """Return whether the image is in ECR."""
        found = ECR.fullmatch(image)
        if not found:
            return problem("image", f"{image} is not of ECR, the only place SageMaker takes it from", f"See {YAML}.")
        wanted = {"imageDigest": found["digest"]} if found["digest"] else {"imageTag": found["tag"] or "latest"}

        def ask() -> Finding:
            client = self._client("ecr", found["region"])
            there = client.describe_images(registryId=found["account"], repositoryName=found["name"], imageIds=[wanted])
            return ok("image", f"{found['name']}: {there['imageDetails'][0]['imageDigest'][:19]}…")

        remedy = f"docker build --target train, push it, or correct `image` in {YAML}."
        return _asked("image", ask, remedy, right="ecr:DescribeImages")

    def subnets(self) -> Finding:
        """Return whether the subnets are there and have addresses left."""

        def ask() -> Finding:
            found = self._client("ec2").describe_subnets(SubnetIds=self._settings.subnets)["Subnets"]
            full = [each["SubnetId"] for each in found if not each["AvailableIpAddressCount"]]
            if full:
                return problem("subnets", f"{', '.join(full)}: no address is free", f"Name others in {YAML}.")
            return ok("subnets", ", ".join(f"{each['SubnetId']} ({each['CidrBlock']})" for each in found))

        return _asked("subnets", ask, f"Correct `subnets` in {YAML}.", right="ec2:DescribeSubnets")

    def security_groups(self) -> Finding:
        """Return whether the security groups are there."""
        wanted = self._settings.security_groups

        def ask() -> Finding:
            found = self._client("ec2").describe_security_groups(GroupIds=wanted)["SecurityGroups"]
            return ok("security groups", ", ".join(each["GroupId"] for each in found))

        remedy = f"Correct `security_groups` in {YAML}."
        return _asked("security groups", ask, remedy, right="ec2:DescribeSecurityGroups")

    def quota(self, machine: str, number: int, *, is_spot: bool) -> Finding:
        """Return how many such machines the account may have at a time."""
        wanted = f"{machine} for {'spot ' * is_spot}training job usage"
        remedy = "Ask for more under Service Quotas (SageMaker), or take another profile in `training.accelerator`."

        def ask() -> Finding:
            pages = self._client("service-quotas").get_paginator("list_service_quotas")
            for page in pages.paginate(ServiceCode="sagemaker"):
                for each in page["Quotas"]:
                    if each["QuotaName"] == wanted:
                        is_enough = each["Value"] >= number
                        told = f"{wanted}: {each['Value']:g}, {number} wanted"
                        return ok("quota", told) if is_enough else problem("quota", told, remedy)
            return unsure("quota", f"{wanted}: not listed, so it is AWS' default", "Look under Service Quotas")

        return _asked("quota", ask, remedy, right="servicequotas:ListServiceQuotas")

    def jobs(self) -> Finding:
        """Return whether SageMaker answers."""

        def ask() -> Finding:
            self._client("sagemaker").list_training_jobs(MaxResults=1)
            return ok("SageMaker", f"answers in {self._settings.region}")

        return _asked("SageMaker", ask, "Allow sagemaker:ListTrainingJobs.", is_needed=True)

    def logs(self) -> Finding:
        """Return whether a job's output could be read."""

        def ask() -> Finding:
            try:
                self._client("logs").describe_log_streams(logGroupName=GROUP, limit=1)
            except ClientError as error:
                if code_of(error) != "ResourceNotFoundException":  # before the account's first job
                    raise
            return ok("CloudWatch", "output can be looked for")

        return _asked("CloudWatch", ask, "Allow logs:DescribeLogStreams and GetLogEvents.", is_needed=True)

    def _client(self, service: str, region: str = "") -> Any:
        return boto3.client(service, region_name=region or self._settings.region, config=QUICK)


def _asked(what: str, ask: Callable[[], Finding], remedy: str, *, right: str = "", is_needed: bool = False) -> Finding:
    """Return what was found, or what AWS' error says of it.

    :param right: what would have to be allowed to look.
    :param is_needed: whether a training needs that right, too.
    """
    try:
        return ask()
    except ClientError as error:
        code, message = code_of(error), error.response.get("Error", {}).get("Message", "")
        if code in DENIED and not is_needed:
            return unsure(what, f"may not be looked at ({code})", f"Allow {right} to have it checked")
        if code in EXPIRED:
            return problem(what, f"not valid any more ({code})", "Renew them.")
        return problem(what, f"{code}: {message}", remedy)
    except (Unreachable, HTTPClientError) as error:
        return problem(what, str(error), "Let this machine reach AWS: a proxy, a route, a VPC endpoint.")
    except BotoCoreError as error:
        return problem(what, str(error), remedy)
