"""Installations whose lake is in an object store: moto's S3 (with a catalog in SQL, Glue or REST), and Azurite."""

import logging
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import boto3
import pytest
from moto.server import ThreadedMotoServer
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.utils.config import Config

from include.catalog import storage_properties
from include.filesystems import CONNECTION, filesystem_of
from tests.stages.stores.rest_catalog import TOKEN, serving

REGION = "eu-central-1"
SECRET = "wJalrXUtnFEMI-not-a-real-secret"  # noqa: S105 - made up: nothing that is written may hold it


@pytest.fixture(scope="session")
def aws() -> Iterator[str]:
    """moto's server, for S3 and Glue."""
    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    yield f"http://127.0.0.1:{server.get_host_and_port()[1]}"
    server.stop()


@pytest.fixture
def s3(aws: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """A place in a new bucket, with credentials where AWS's own tools look."""
    told = {"ACCESS_KEY_ID": "test", "SECRET_ACCESS_KEY": SECRET, "DEFAULT_REGION": REGION, "ENDPOINT_URL": aws}
    for name, value in told.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    bucket = f"lake-{uuid4().hex[:12]}"
    boto3.client("s3").create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": REGION})
    return f"s3://{bucket}/evergreen"


@pytest.fixture
def glue(s3: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A place in a bucket, whose tables are in an empty Glue."""
    monkeypatch.setenv("EVERGREEN_CATALOG_URL", f"glue://{REGION}")
    yield s3
    client = boto3.client("glue")
    for database in client.get_databases()["DatabaseList"]:
        client.delete_database(Name=database["Name"])


@pytest.fixture
def rest(s3: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[str]:
    """A place in a bucket, whose tables are in an empty REST catalog; its token is PyIceberg's to read."""
    catalog = SqlCatalog("behind", uri=f"sqlite:///{tmp_path}/behind.db", **storage_properties(s3))
    with serving(catalog) as url:
        monkeypatch.setenv("EVERGREEN_CATALOG_URL", url)
        monkeypatch.setenv("PYICEBERG_CATALOG__EVERGREEN__TOKEN", TOKEN)
        monkeypatch.setattr("pyiceberg.catalog._ENV_CONFIG", Config())  # it was read when PyIceberg was imported
        yield s3


@pytest.fixture
def azure(azurite: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """A place in a new container of Azurite's."""
    monkeypatch.setenv(CONNECTION, azurite)
    url = f"abfs://lake-{uuid4().hex[:12]}"
    files, container = filesystem_of(url)
    files.makedirs(container)
    return f"{url}/evergreen"


@pytest.fixture(params=["s3", "azure"])
def store(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """A lake in an object store, as the environment says; the catalog is a SQLite file."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    url: str = request.getfixturevalue(request.param)
    monkeypatch.setenv("EVERGREEN_LAKE", url)
    return url
