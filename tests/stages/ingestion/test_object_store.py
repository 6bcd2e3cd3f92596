"""Deliveries in an object store: a real S3 server (moto's), started here on loopback, and one that is not there."""

import gzip
import json
import logging
from pathlib import Path

import boto3
import httpx
import pyarrow.parquet as pq
import pytest
from moto.server import ThreadedMotoServer

from include.config import load_pipeline
from include.errors import DeliveryMissingError, SourceUnavailableError
from include.ingestion import files
from include.ingestion.delivery import is_delivered, land
from include.sources import Files

DAY, NEXT_DAY = "2020-01-01", "2020-01-02"


@pytest.fixture(scope="module")
def server():
    """The host and port of an S3 server."""
    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", "nobody")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "nothing")
        patch.setenv("NO_PROXY", "127.0.0.1")
        server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        server.start()
        yield ":".join(map(str, server.get_host_and_port()))
        server.stop()


@pytest.fixture
def url(server):
    """Return a function that makes a path in the bucket a URL of this server."""
    return lambda path: f"s3://bucket/{path}?endpoint_override={server}&scheme=http&region=us-east-1"


@pytest.fixture
def put(server):
    """Return a function that puts an object into the bucket, which is empty at first."""
    httpx.post(f"http://{server}/moto-api/reset")
    httpx.post(f"http://{server}/moto-api/reset-auth", content=b"inf")
    store = boto3.client("s3", endpoint_url=f"http://{server}", region_name="us-east-1")
    store.create_bucket(Bucket="bucket")
    return lambda key, content: store.put_object(Bucket="bucket", Key=key, Body=content)


@pytest.fixture
def rides_in_the_store(settings, rides_yaml, url):
    """A pipeline whose events are packed parts of a day, with a marker, and whose labels are one file a day."""
    text = rides_yaml.replace(
        'path: "e/{date}.csv"', f'path: "{url("e/{date}/*.csv.gz")}", format: csv, marker: "{url("e/{date}/_SUCCESS")}"'
    )
    text = text.replace('path: "l/{date}.csv"', f'path: "{url("l/{date}.csv")}", format: csv')
    (settings.pipelines / "rides.yaml").write_text(text)
    return load_pipeline("rides")


def test_a_day_in_the_store_is_awaited_found_and_landed_as_it_came(rides_in_the_store, put):
    parts = [gzip.compress(f"ride_id,day,distance,carrier\n{key},{DAY},1.5,AA\n".encode()) for key in "ab"]
    put(f"e/{DAY}/part-1.csv.gz", parts[1])
    put(f"e/{DAY}/part-0.csv.gz", parts[0])
    put(f"l/{DAY}.csv", b"ride_id,late\na,true\n")
    assert not is_delivered(rides_in_the_store, DAY)
    put(f"e/{DAY}/_SUCCESS", b"")
    assert is_delivered(rides_in_the_store, DAY)

    landed = json.loads(Path(land(rides_in_the_store, [DAY], "run")).read_text())["days"][DAY]

    keys = [pq.read_table(path)["ride_id"].to_pylist() for path in landed["events"]]
    raw = [next(Path(path).parent.glob(f"{Path(path).name.split('.')[0]}.csv.gz")) for path in landed["events"]]
    assert keys == [["a"], ["b"]]
    assert [path.read_bytes() for path in raw] == parts
    assert pq.read_table(landed["labels"][0])["late"].to_pylist() == ["true"]


def test_objects_that_are_missing_are_named_with_their_url(rides_in_the_store, put, url):
    put(f"l/{DAY}.csv", b"ride_id,late\na,true\n")

    with pytest.raises(DeliveryMissingError) as caught:
        land(rides_in_the_store, [DAY, NEXT_DAY], "run")

    assert "3 of 4 deliveries are not there" in str(caught.value)
    assert url(f"l/{NEXT_DAY}.csv") in str(caught.value)
    assert url(f"l/{DAY}.csv") not in str(caught.value)


@pytest.mark.parametrize("path", ["e/{date}/part-0.csv", "e/{date}/*.csv"])
def test_a_store_that_refuses_the_credentials_is_not_an_empty_one(put, url, server, path):
    put(f"e/{DAY}/part-0.csv", b"a\n1\n")
    httpx.post(f"http://{server}/moto-api/reset-auth", content=b"0")

    with pytest.raises(SourceUnavailableError, match="refused: .*AWS Error (ACCESS|INVALID).*AWS_ACCESS_KEY_ID, "):
        files.fetch(Files(path=url(path), format="csv"), DAY)


def test_the_days_in_the_store_are_listed(put, url):
    for day in (NEXT_DAY, DAY, "2020-13-01"):
        put(f"e/{day}/part-0.csv", b"a\n1\n")

    assert files.days_of(Files(path=url("e/{date}/part-*.csv"), format="csv")) == [DAY, NEXT_DAY]


def test_a_store_that_does_not_answer_is_tried_again_later(server):
    path = "s3://bucket/{date}.csv?endpoint_override=127.0.0.1:1&scheme=http&region=eu-west-1"

    with pytest.raises(SourceUnavailableError, match="did not answer"):
        files.is_delivered(Files(path=path, format="csv"), DAY)
