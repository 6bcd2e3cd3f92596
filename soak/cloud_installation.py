"""This file makes an installation whose trainings run on one platform, and that platform's stand-in beside it."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import boto3
from moto.server import ThreadedMotoServer

from include.settings import ROOT
from soak.cloud_books import BUCKET, AwsBooks, Books, KubernetesBooks, LocalBooks
from soak.cloud_worker import PIPELINE
from tests.cloud.kubernetes_api import KubernetesApi
from tests.cloud.lake import publish_rides
from tests.cloud.sagemaker import SageMaker

REGION = "eu-central-1"
YAML = """
description: Rides.
owner: nobody
schedule: {{start: 2020-01-01}}
key: ride_id
date: day
platform: {platform}
source: {{events: {{path: "e/{{date}}.csv"}}}}
cleaning:
  columns: {{ride_id: string, day: date, distance: double, carrier: string, late: boolean}}
  deduplicate: {{by: [ride_id], order: [source_row]}}
expectations: []
training:
  {{target: late, min_rows: 100, holdout_days: 2, refit: false, epochs: 20, batch_size: 64, hidden: [8],
   embedding_dim: 2, checkpoint_seconds: 0.2, features: {{numeric: [distance], categorical: [carrier]}}}}
"""
SETTINGS = {
    "local": "",
    "aws": f"""
region: {REGION}
role: arn:aws:iam::123456789012:role/evergreen-training
image: example/evergreen-train:1
folder: s3://{BUCKET}/training
subnets: [subnet-0a1b2c3d]
security_groups: [sg-0a1b2c3d]
""",
    "kubernetes": f"""
flavour: eks
namespace: evergreen
image: example/evergreen-train:1
service_account: evergreen-training
storage: s3://{BUCKET}/cluster
tracking_url: ""
secrets: [storage-login]
egress: [{{cidr: 10.0.0.0/8}}]
poll_seconds: 0.1
machines: {{cpu: {{}}}}
""",
}


@contextmanager
def installation(platform: str) -> Iterator[Books]:
    """Make one with a pipeline whose trainings run on a platform, with days to learn from, and its stand-in."""
    before = dict(os.environ)
    with tempfile.TemporaryDirectory(prefix="evergreen-cloud-") as name, ExitStack() as stack:
        folder = Path(name)
        for made in ("pipelines", "platforms", "machines", "tmp"):
            (folder / made).mkdir()
        (folder / "pipelines" / f"{PIPELINE}.yaml").write_text(YAML.format(platform=platform))
        (folder / "platforms" / f"{platform}.yaml").write_text(SETTINGS[platform])
        os.environ |= {
            "EVERGREEN_DATA": str(folder / "data"),
            "EVERGREEN_PIPELINES": str(folder / "pipelines"),
            "EVERGREEN_PLATFORMS": str(folder / "platforms"),
            "MLFLOW_TRACKING_URI": "",
            "PYTHONPATH": f"{ROOT}:{ROOT / 'plugins'}",
            "NO_PROXY": "127.0.0.1",
        }
        os.environ.pop("EVERGREEN_LEDGER_URL", None)
        stack.callback(_restore, before)
        publish_rides(10, 100)
        yield _books(platform, folder, stack)


def _books(platform: str, folder: Path, stack: ExitStack) -> Books:
    if platform == "local":
        books = LocalBooks(folder)
        os.environ["SOAK_PYTHON"] = books.python
        stack.callback(books.end)
        return books
    moto = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    moto.start()
    stack.callback(moto.stop)
    url = f"http://127.0.0.1:{moto.get_host_and_port()[1]}"
    login = {
        "AWS_ACCESS_KEY_ID": "k",
        "AWS_SECRET_ACCESS_KEY": "s",
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ENDPOINT_URL": url,
    }
    os.environ |= login
    s3 = boto3.client("s3")
    s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
    if platform == "aws":
        server = stack.enter_context(SageMaker(s3, boto3.client("logs"), folder / "machines"))
        os.environ["AWS_ENDPOINT_URL_SAGEMAKER"] = server.url
        return AwsBooks(server, s3)
    cluster = KubernetesApi(folder / "machines")
    stack.callback(cluster.close)
    cluster.secrets["storage-login"] = login
    told = folder / "platforms" / "kubernetes.yaml"
    told.write_text(f"{told.read_text()}kubeconfig: {cluster.kubeconfig(folder / 'kubeconfig')}\n")
    return KubernetesBooks(cluster, s3)


def _restore(before: dict[str, str]) -> None:
    os.environ.clear()
    os.environ.update(before)
