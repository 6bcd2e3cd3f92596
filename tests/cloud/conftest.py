"""An installation whose trainings run on stand-ins for clouds: moto for S3 and CloudWatch, our own for the rest."""

import logging
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import boto3
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from moto.server import ThreadedMotoServer

from include.config import load_pipeline
from include.ledger import open_ledger, requests
from include.pipeline import Pipeline
from include.recipe import Features, Training
from include.training.spec import Spec
from tests.cloud.kubernetes_api import KubernetesApi
from tests.cloud.sagemaker import SageMaker

AWS_YAML = """
region: eu-central-1
role: arn:aws:iam::123456789012:role/evergreen-training
image: 123456789012.dkr.ecr.eu-central-1.amazonaws.com/evergreen-train:1
folder: s3://evergreen-test/training
subnets: [subnet-0a1b2c3d]
security_groups: [sg-0a1b2c3d]
"""
KUBERNETES_YAML = """
flavour: eks
namespace: evergreen
image: registry.example.com/evergreen-train:0.1.0
service_account: evergreen-training
storage: s3://evergreen-test/cluster
tracking_url: ""
secrets: [storage-login]
egress: [{cidr: 10.0.0.0/8, port: 443}]
poll_seconds: 0.1
machines: {cpu: {}}
"""
# Made-up secrets, which nothing that is sent or logged may hold.
SECRET = "wJalrXUtnFEMI-not-a-real-secret"  # noqa: S105
POD_SECRET = "hunter2-in-a-secret-of-the-cluster"  # noqa: S105
REGION, BUCKET = "eu-central-1", "evergreen-test"
DAYS = [f"2020-01-{number:02}" for number in range(1, 9)]
TRAINING = Training(
    target="late",
    features=Features(numeric=["distance"], categorical=["carrier"]),
    min_rows=50,
    epochs=2,
    batch_size=64,
    hidden=[8],
    embedding_dim=2,
    refit=False,
)


@pytest.fixture(scope="module")
def installation(rides_yaml: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Settings of an installation with one pipeline, `rides`, and without MLflow."""
    folder = tmp_path_factory.mktemp("installation")
    for name, text in (
        ("pipelines/rides.yaml", rides_yaml),
        ("platforms/aws.yaml", AWS_YAML),
        ("platforms/kubernetes.yaml", KUBERNETES_YAML),
    ):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EVERGREEN_DATA", str(folder / "data"))
        patch.setenv("EVERGREEN_PIPELINES", str(folder / "pipelines"))
        patch.setenv("EVERGREEN_PLATFORMS", str(folder / "platforms"))
        patch.setenv("MLFLOW_TRACKING_URI", "")
        patch.delenv("EVERGREEN_LEDGER_URL", raising=False)
        patch.setenv("AWS_ACCESS_KEY_ID", "test")
        patch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
        patch.setenv("AWS_DEFAULT_REGION", REGION)
        patch.setattr("include.platforms.aws.POLL_SECONDS", 0.2)
        yield folder


@pytest.fixture(scope="session")
def moto() -> Iterator[str]:
    """moto's server."""
    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(scope="module")
def bucket(installation: Path, moto: str) -> Iterator[Any]:
    """The bucket of all that is sent and left, found by boto3 as AWS' would be."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", moto)
        s3 = boto3.client("s3")
        s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
        yield s3
        for each in s3.list_objects_v2(Bucket=BUCKET).get("Contents", []):
            s3.delete_object(Bucket=BUCKET, Key=each["Key"])
        s3.delete_bucket(Bucket=BUCKET)


@pytest.fixture(scope="module")
def sagemaker(bucket: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SageMaker]:
    """The stand-in for SageMaker, found by boto3 as AWS would be."""
    server = SageMaker(bucket, boto3.client("logs"), tmp_path_factory.mktemp("machines"))
    with pytest.MonkeyPatch.context() as patch, server:
        patch.setenv("AWS_ENDPOINT_URL_SAGEMAKER", server.url)
        yield server


@pytest.fixture(scope="module")
def cluster(
    installation: Path, bucket: Any, moto: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[KubernetesApi]:
    """The stand-in for a cluster, found by the kubeconfig that platforms/kubernetes.yaml names; its storage is S3."""
    api = KubernetesApi(tmp_path_factory.mktemp("pods"))
    api.secrets["storage-login"] = {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": POD_SECRET,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ENDPOINT_URL": moto,
    }
    kubeconfig = api.kubeconfig(installation / "kubeconfig")
    (installation / "platforms" / "kubernetes.yaml").write_text(f"{KUBERNETES_YAML}kubeconfig: {kubeconfig}\n")
    yield api
    api.close()


class Stored(Mapping[str, bytes]):
    """What lies in the bucket; an object is read when it is asked for."""

    def __init__(self, bucket: Any) -> None:
        self._bucket = bucket
        self._keys = [each["Key"] for each in bucket.list_objects_v2(Bucket=BUCKET).get("Contents", [])]

    def __getitem__(self, key: str) -> bytes:
        try:
            content: bytes = self._bucket.get_object(Bucket=BUCKET, Key=key)["Body"].read()
        except self._bucket.exceptions.NoSuchKey:  # removed meanwhile
            return b""
        return content

    def __iter__(self) -> Iterator[str]:
        return iter(self._keys)

    def __len__(self) -> int:
        return len(self._keys)


@pytest.fixture(scope="module")
def objects(bucket: Any) -> Callable[[], Stored]:
    """Return a function that gives all that lies in the bucket."""
    return lambda: Stored(bucket)


@pytest.fixture(scope="session")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight days of rides with something to learn in them, a Parquet file a day."""
    folder, random = tmp_path_factory.mktemp("rows"), np.random.default_rng(0)
    for day in DAYS:
        distance = random.normal(0, 1, 100)
        table = {
            "ride_id": [f"{day}-{number:03}" for number in range(100)],
            "day": [day] * 100,
            "distance": distance,
            "carrier": random.choice(["AA", "UA"], 100),
            "late": distance + random.normal(0, 1, 100) > 0,
        }
        pq.write_table(pa.table(table), folder / f"{day}.parquet")
    return folder


@pytest.fixture
def make_spec(installation: Path, rows: Path, tmp_path: Path) -> Callable[..., Spec]:
    """Return a function that makes a spec which learns from six days and holds out two; keywords change its recipe."""
    return lambda request_id="rides.first.one", **recipe: spec_of(tmp_path / "models", rows, request_id, **recipe)


def spec_of(models: Path, rows: Path, request_id: str, **recipe: Any) -> Spec:
    return Spec(
        pipeline="rides",
        request_id=request_id,
        reason="a test",
        key="ride_id",
        date="day",
        snapshot_id=None,
        train_days=(DAYS[0], DAYS[5]),
        holdout_days=(DAYS[6], DAYS[7]),
        training=TRAINING.model_copy(update=recipe),
        sample_rows=100,
        folder=models / request_id,
        rows=rows,
    )


@pytest.fixture
def pipeline(sagemaker: SageMaker, monkeypatch: pytest.MonkeyPatch) -> Pipeline:
    pipeline = load_pipeline("rides").model_copy(update={"platform": "aws"})
    monkeypatch.setattr("evergreen.operators.train.load_pipeline", lambda _name: pipeline)
    monkeypatch.setattr("evergreen.operators.train.POKE_SECONDS", 0.2)
    return pipeline


@pytest.fixture
def ask(pipeline: Pipeline, make_spec: Callable[..., Spec], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Spec]:
    """File and claim a request, and let its plan be this spec."""

    def file(key: str, **recipe: Any) -> Spec:
        with open_ledger() as session:
            filed = requests.file_request(session, "rides", reason="", triggered_by="hand", key=key, detail={})
            requests.claim_request(session, filed.id, "run-1")
        spec = make_spec(filed.id, **recipe)
        path = spec.work / "spec.json"
        path.parent.mkdir(parents=True)
        path.write_text(spec.model_dump_json())
        monkeypatch.setattr("include.platforms.ordering.plan", lambda *_: str(path))
        monkeypatch.setattr("include.platforms.ordering.model_folder", lambda *_: spec.folder)
        return spec

    return file


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    os.environ.pop("AWS_PROFILE", None)
