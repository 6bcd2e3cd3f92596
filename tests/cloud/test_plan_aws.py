"""What `evergreen plan --check` finds of an AWS account: moto's, with its own rules of who may do what."""

import json
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Any

import boto3
import httpx
import pytest
import yaml
from botocore.config import Config

from include.config import load_pipeline
from include.finding import Finding
from include.planning import check
from include.platforms.aws_check import QUICK
from tests.cloud.conftest import AWS_YAML
from tests.cloud.denying import denying
from tests.cloud.sagemaker import SageMaker

REGION, TODAY = "eu-central-1", date(2026, 11, 26)
ALL = [
    "credentials",
    "role",
    "bucket",
    "folder",
    "image",
    "subnets",
    "security groups",
    "quota",
    "SageMaker",
    "CloudWatch",
]
QUOTA = "ml.m5.large for spot training job usage"
TRUST = {
    "Statement": [{"Effect": "Allow", "Principal": {"Service": "sagemaker.amazonaws.com"}, "Action": "sts:AssumeRole"}]
}


def client(service: str) -> Any:
    return boto3.client(service, region_name=REGION)


@pytest.fixture(scope="module")
def account(sagemaker: SageMaker) -> dict[str, Any]:
    """Settings of an account that has all a training needs."""
    client("iam").create_role(RoleName="evergreen-training", AssumeRolePolicyDocument=json.dumps(TRUST))
    client("ecr").create_repository(repositoryName="evergreen-train")
    manifest = json.dumps({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "layers": []})
    client("ecr").put_image(repositoryName="evergreen-train", imageTag="1", imageManifest=manifest)
    vpc = client("ec2").create_vpc(CidrBlock="10.1.0.0/16")["Vpc"]["VpcId"]
    subnet = client("ec2").create_subnet(VpcId=vpc, CidrBlock="10.1.0.0/24")["Subnet"]["SubnetId"]
    group = client("ec2").create_security_group(GroupName="trainings", Description="trainings", VpcId=vpc)["GroupId"]
    sagemaker.quotas[QUOTA] = 1.0
    return {**yaml.safe_load(AWS_YAML), "subnets": [subnet], "security_groups": [group]}


@pytest.fixture
def found(
    account: dict[str, Any], sagemaker: SageMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., dict[str, Finding]]:
    """Return a function that checks, with other settings where keywords say so."""
    monkeypatch.setenv("EVERGREEN_PLATFORMS", str(tmp_path))
    monkeypatch.setenv("AWS_ENDPOINT_URL_SERVICE_QUOTAS", sagemaker.url)
    monkeypatch.setattr("include.platforms.aws_check.QUICK", QUICK.merge(Config(read_timeout=60)))  # here it is busy

    def look(**changes: Any) -> dict[str, Finding]:
        (tmp_path / "aws.yaml").write_text(yaml.safe_dump({**account, **changes}))
        return {each.what: each for each in check(load_pipeline("rides"), "aws", TODAY)}

    return look


def test_an_account_that_has_it_all_is_found_so(found: Callable[..., Any], objects: Callable[[], Any]) -> None:
    findings = found()

    assert {name: findings[name].verdict for name in ALL} == dict.fromkeys(ALL, "ok"), findings
    assert findings["starting a job"].verdict == "unsure", "nobody can tell before one is started"
    assert "iam:PassRole" in findings["starting a job"].found
    assert objects() == {}, "nothing is left"


@pytest.mark.parametrize(
    ("changes", "what", "says"),
    [
        ({"folder": "s3://evergreen-nowhere/training"}, "bucket", "Make the bucket, or correct `folder`"),
        ({"subnets": ["subnet-0123456789abcdef0"]}, "subnets", "subnet-0123456789abcdef0"),
        ({"security_groups": ["sg-0123456789abcdef0"]}, "security groups", "Correct `security_groups`"),
        ({"role": "arn:aws:iam::123456789012:role/nobody"}, "role", "Make it, or correct `role`"),
        ({"role": "arn:aws:iam::999999999999:role/evergreen-training"}, "role", "not of the account 123456789012"),
        ({"image": "123456789012.dkr.ecr.eu-central-1.amazonaws.com/evergreen-train:2"}, "image", "push it"),
        ({"image": "123456789012.dkr.ecr.eu-central-1.amazonaws.com/other:1"}, "image", "push it"),
        ({"image": "registry.example.com/evergreen-train:1"}, "image", "is not of ECR"),
    ],
)
def test_what_is_missing_is_named_with_its_remedy(
    found: Callable[..., Any], changes: dict[str, Any], what: str, says: str
) -> None:
    findings = found(**changes)

    assert findings[what].verdict == "problem", findings[what]
    assert says in str(findings[what])
    others = [each for name, each in findings.items() if name not in {what, "folder", "starting a job"}]
    assert {each.verdict for each in others} == {"ok"}, "the rest is looked at all the same"


def test_a_role_that_sagemaker_may_not_take_is_a_problem(found: Callable[..., Any]) -> None:
    trust = json.dumps(TRUST).replace("sagemaker", "ec2")
    client("iam").create_role(RoleName="of-a-machine", AssumeRolePolicyDocument=trust)

    assert "does not trust sagemaker" in str(found(role="arn:aws:iam::123456789012:role/of-a-machine")["role"])


def test_a_bucket_of_another_region_is_a_problem(found: Callable[..., Any]) -> None:
    where = {"LocationConstraint": "eu-west-1"}
    boto3.client("s3", region_name="eu-west-1").create_bucket(Bucket="evergreen-far", CreateBucketConfiguration=where)

    finding = found(folder="s3://evergreen-far/training")["bucket"]

    assert (finding.verdict, "eu-west-1" in str(finding)) == ("problem", True), finding


@pytest.mark.parametrize(("value", "verdict"), [(0.0, "problem"), (1.0, "ok"), (None, "unsure")])
def test_a_quota_of_nought_is_a_problem(
    found: Callable[..., Any], sagemaker: SageMaker, monkeypatch: pytest.MonkeyPatch, value: float | None, verdict: str
) -> None:
    monkeypatch.setattr(sagemaker, "quotas", {} if value is None else {QUOTA: value})

    assert found()["quota"].verdict == verdict


def test_what_may_not_be_looked_at_is_unknown_and_not_wrong(
    found: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    with denying() as url:
        for service in ("IAM", "ECR", "EC2", "SERVICE_QUOTAS"):
            monkeypatch.setenv(f"AWS_ENDPOINT_URL_{service}", url)
        findings = found()

    unknown = {"role", "image", "subnets", "security groups", "quota", "starting a job"}
    assert {name for name, each in findings.items() if each.verdict == "unsure"} == unknown, findings
    assert not [each for each in findings.values() if each.verdict == "problem"]
    assert "Allow ec2:DescribeSubnets" in findings["subnets"].remedy


def test_what_a_training_needs_and_may_not_is_a_problem(
    found: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    with denying() as url:
        for service in ("SAGEMAKER", "CLOUDWATCH_LOGS"):
            monkeypatch.setenv(f"AWS_ENDPOINT_URL_{service}", url)
        findings = found()

    assert {name for name, each in findings.items() if each.verdict == "problem"} == {"SageMaker", "CloudWatch"}
    assert "Allow sagemaker:ListTrainingJobs" in str(findings["SageMaker"])


@pytest.fixture
def strict_moto(moto: str, account: dict[str, Any]) -> Iterator[None]:
    """moto, once it asks whose the credentials are; it knows nobody."""
    httpx.post(f"{moto}/moto-api/reset-auth", content="0")
    yield
    httpx.post(f"{moto}/moto-api/reset-auth", content="inf")


@pytest.mark.usefixtures("strict_moto")
def test_credentials_of_nobody_end_the_look(found: Callable[..., Any]) -> None:
    findings = found()

    assert (findings["credentials"].verdict, findings["credentials"].remedy) == ("problem", "Renew them."), findings
    assert list(findings)[-2:] == ["credentials", "all else"], "without them nobody answers"


def test_an_aws_that_cannot_be_reached_says_so_within_seconds(
    found: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")

    findings = found()

    assert findings["credentials"].verdict == "problem"
    assert "Let this machine reach AWS" in str(findings["credentials"])
