import pytest

from include.errors import SourceUnavailableError
from include.ingestion import files
from include.sources import Files

DAY = "2020-01-01"


def test_a_store_that_does_not_answer_is_tried_again_later(monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "nobody")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "nothing")
    path = "s3://bucket/{date}.csv?endpoint_override=127.0.0.1:1&scheme=http&region=eu-west-1"

    with pytest.raises(SourceUnavailableError, match="did not answer"):
        files.is_delivered(Files(path=path, format="csv"), DAY)
