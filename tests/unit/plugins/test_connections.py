import asyncio

import pytest

from include.sources import Sql


@pytest.fixture
def url_of():
    from evergreen.connections import url_of

    return url_of


@pytest.mark.parametrize(
    "url",
    [
        "postgresql+psycopg://me:se%40cret@host:5432/shop?sslmode=require",
        "mysql+pymysql://me@host/shop",
        "sqlite:////tmp/shop.db",
        "http://:token@api.example",
    ],
)
def test_a_connection_given_as_sqlalchemys_url_comes_back_as_that(url_of, monkeypatch, url):
    from airflow.sdk import Connection

    assert url_of(Connection.from_uri(url, conn_id="shop")) == url


def test_airflows_own_names_are_translated(url_of):
    from airflow.sdk import Connection

    postgres = Connection(conn_id="a", conn_type="postgres", host="h", login="me", schema="db", port=5)
    sqlite = Connection(conn_id="b", conn_type="sqlite", host="/srv/x.db")

    assert url_of(postgres) == "postgresql://me@h:5/db"
    assert url_of(sqlite) == "sqlite:////srv/x.db"


def test_a_pipelines_connections_are_looked_up_by_task_and_trigger_alike(rides, monkeypatch):
    from evergreen.connections import connection_urls, connection_urls_soon

    monkeypatch.setenv("AIRFLOW_CONN_SHOP", "sqlite:////tmp/shop.db")
    events = Sql(connection="shop", table="rides", date_column="day")
    pipeline = rides.model_copy(update={"source": rides.source.model_copy(update={"events": events})})

    assert connection_urls(pipeline) == {"shop": "sqlite:////tmp/shop.db"}
    assert asyncio.run(connection_urls_soon(pipeline)) == {"shop": "sqlite:////tmp/shop.db"}
