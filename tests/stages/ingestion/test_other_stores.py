"""Deliveries in Azure's store (its emulator, Azurite) and in Google's (what Arrow asks of it, answered on loopback)."""

from uuid import uuid4

import pytest

from include import filesystems
from include.errors import SourceUnavailableError
from include.filesystems import CONNECTION, filesystem_of
from include.ingestion import files
from include.sources import Files
from tests import google_storage

DAY, NEXT_DAY = "2020-01-01", "2020-01-02"


@pytest.fixture
def azure(azurite, monkeypatch):
    """How a path in a new container is written, and what puts objects there."""
    monkeypatch.setenv(CONNECTION, azurite)
    container = f"bucket-{uuid4().hex[:12]}"
    store, there = filesystem_of(f"abfs://{container}")
    store.makedirs(there)
    return f"abfs://{container}/{{}}".format, lambda key, content: store.pipe_file(f"{container}/{key}", content)


@pytest.fixture
def google():
    """How a path in an empty bucket is written, and what puts objects there."""
    with google_storage.serving() as server:
        url = f"gs://anonymous@bucket/{{}}?scheme=http&endpoint_override=127.0.0.1:{server.server_port}"
        yield url.format, server.objects.__setitem__


@pytest.fixture(params=["azure", "google"])
def store(request, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    return request.getfixturevalue(request.param)


def test_a_days_parts_are_awaited_and_fetched_in_the_order_of_their_names(store):
    url, put = store
    source = Files(path=url("e/{date}/*.csv"), format="csv", marker=url("e/{date}/_SUCCESS"))
    assert not files.is_delivered(source, DAY)
    put(f"e/{DAY}/part-1.csv", b"b")
    put(f"e/{DAY}/part-0.csv", b"a")
    assert not files.is_delivered(source, DAY)
    put(f"e/{DAY}/_SUCCESS", b"")

    delivered = files.fetch(source, DAY)

    assert [(each.content, each.suffix) for each in delivered] == [(b"a", ".csv"), (b"b", ".csv")]
    assert files.fetch(source, NEXT_DAY) == []


def test_the_days_there_are_listed(store):
    url, put = store
    for day in (NEXT_DAY, DAY, "2020-13-01"):
        put(f"e/{day}/part-0.csv", b"a\n1\n")

    assert files.days_of(Files(path=url("e/{date}/part-*.csv"), format="csv")) == [DAY, NEXT_DAY]


@pytest.mark.parametrize("path", ["abfs://bucket/{date}.csv", "gs://anonymous@bucket/{date}.csv"])
def test_a_store_that_does_not_answer_is_tried_again_later(monkeypatch, path):
    monkeypatch.setenv(CONNECTION, "AccountName=a;AccountKey=YQ==;BlobEndpoint=http://127.0.0.1:1/a;")
    monkeypatch.setattr(filesystems, "GOOGLE_SECONDS", 1)
    if path.startswith("gs://"):
        path += "?scheme=http&endpoint_override=127.0.0.1:1"

    with pytest.raises(SourceUnavailableError, match="AZURE_STORAGE_ACCOUNT_NAME"):
        files.is_delivered(Files(path=path, format="csv"), DAY)
