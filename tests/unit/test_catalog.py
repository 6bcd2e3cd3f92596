import pytest

from include.catalog import kind_of, storage_properties
from include.errors import ConfigError


@pytest.mark.parametrize(
    ("url", "properties"),
    [
        ("sqlite:////data/catalog.db", {"type": "sql", "uri": "sqlite:////data/catalog.db"}),
        ("postgresql+psycopg://db/lake", {"type": "sql", "uri": "postgresql+psycopg://db/lake"}),
        ("https://catalog.example/api", {"type": "rest", "uri": "https://catalog.example/api"}),
        ("glue://eu-central-1", {"type": "glue", "glue.region": "eu-central-1"}),
        ("glue://", {"type": "glue"}),
    ],
)
def test_a_url_says_which_kind_of_catalog_it_is(url, properties):
    assert kind_of(url) == properties


def test_an_unknown_kind_is_named_with_those_there_are():
    with pytest.raises(ConfigError, match="of kind 'mysql', expected sqlite:///.*glue://REGION"):
        kind_of("mysql://db/lake")


def test_pyiceberg_is_told_what_the_clouds_own_variables_say(monkeypatch):
    for name in ("AWS_ENDPOINT_URL_S3", "AWS_REGION", "AZURE_STORAGE_CONNECTION_STRING"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://all.example")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "account")

    found = storage_properties("s3://bucket/evergreen")
    assert (found["s3.endpoint"], found["s3.region"]) == ("http://all.example", "eu-west-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://s3.example")
    monkeypatch.setenv("AWS_REGION", "eu-north-1")
    found = storage_properties("s3://bucket/evergreen")
    assert (found["s3.endpoint"], found["s3.region"]) == ("http://s3.example", "eu-north-1"), "the closer name counts"
    assert storage_properties("abfs://container/evergreen")["adls.account-name"] == "account"
    assert list(storage_properties("file:///data/lake")) == ["py-io-impl"]
