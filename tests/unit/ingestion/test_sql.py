from datetime import UTC, date, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa

from include.errors import BadDeliveryError, ConfigError, SourceUnavailableError
from include.ingestion import sql
from include.ingestion.delivered import Delivered
from include.ingestion.delivery import land
from include.ingestion.reading import read
from include.sources import Sql

DAY = "2020-01-06"
TABLE = Sql(connection="shop", table="rides", date_column="began")
COLUMNS = ["ride_id", "day", "distance"]


@pytest.fixture
def url(tmp_path) -> str:
    """The URL of a database with rides of three days."""
    url = f"sqlite:///{tmp_path / 'shop.db'}"
    rides = sa.Table(
        "rides", sa.MetaData(),
        sa.Column("ride_id", sa.String), sa.Column("day", sa.Date), sa.Column("began", sa.DateTime),
        sa.Column("distance", sa.Float), sa.Column("card_number", sa.String),
    )  # fmt: skip
    engine = sa.create_engine(url)
    rides.metadata.create_all(engine)
    with engine.begin() as connection:
        for number, moment in enumerate(
            (datetime(2020, 1, 5, 23, 59), datetime(2020, 1, 6), datetime(2020, 1, 6, 23, 59), datetime(2020, 1, 7))
        ):
            values = {"ride_id": f"r{9 - number}", "day": moment.date(), "began": moment, "distance": None}
            connection.execute(rides.insert().values(**values | ({"distance": 2.5} if number == 1 else {})))
    engine.dispose()
    return url


def rows(delivered: Delivered, columns=COLUMNS) -> list[tuple]:
    return [tuple(row[name] for name in columns) for row in read(delivered, DAY, "f", columns).to_pylist()]


def test_the_rows_of_one_day_are_fetched_and_only_the_columns_of_the_yaml(url):
    [found] = sql.fetch(TABLE, DAY, COLUMNS, [], url)

    assert rows(found) == [("r7", DAY, None), ("r8", DAY, "2.5")]
    with pytest.raises(BadDeliveryError, match="card_number"):
        read(found, DAY, "f", ["card_number"])


def test_the_same_rows_are_the_same_bytes_in_whatever_order_they_come(url):
    query = "select * from rides where date(began) = :day order by began"
    forth, back = Sql(connection="shop", query=query), Sql(connection="shop", query=f"{query} desc")

    assert sql.fetch(forth, DAY, [], [], url)[0].content == sql.fetch(back, DAY, [], [], url)[0].content


def test_a_query_gets_the_day_and_the_next(url):
    query = Sql(connection="shop", query="select ride_id from rides where began >= :day and began < :next_day")

    assert rows(sql.fetch(query, DAY, [], [], url)[0], ["ride_id"]) == [("r7",), ("r8",)]


def test_a_day_without_rows_is_not_delivered(url):
    assert sql.is_delivered(TABLE, DAY, url)
    assert not sql.is_delivered(TABLE, "2020-02-01", url)
    assert sql.fetch(TABLE, "2020-02-01", COLUMNS, [], url) == []


def test_an_optional_column_may_be_missing(url):
    assert len(sql.fetch(TABLE, DAY, [*COLUMNS, "tip"], ["tip"], url)) == 1


@pytest.mark.parametrize(
    ("source", "columns", "message"),
    [
        (TABLE, ["distanc"], r"shop: the table 'rides' has no column 'distanc', only .* Did you mean 'distance'\?"),
        (Sql(connection="shop", table="walks", date_column="day"), COLUMNS, "shop: has no table 'walks'"),
    ],
)
def test_what_the_database_does_not_have_is_named(url, source, columns, message):
    with pytest.raises(BadDeliveryError, match=message):
        sql.fetch(source, DAY, columns, [], url)


def test_a_database_that_does_not_answer_is_tried_again_later(tmp_path):
    with pytest.raises(SourceUnavailableError, match="shop: unable to open"):
        sql.is_delivered(TABLE, DAY, f"sqlite:///{tmp_path}/no/such/folder.db")


def test_a_driver_that_is_not_installed_is_named_and_the_password_is_not():
    with pytest.raises(ConfigError, match="'shop' needs a driver") as caught:
        sql.is_delivered(TABLE, DAY, "oracle+nosuch://me:secret@host/db")

    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "bound"),
    [
        (sa.Date(), date(2020, 1, 6)),
        (sa.DateTime(), datetime(2020, 1, 6)),
        (sa.DateTime(timezone=True), datetime(2020, 1, 6, tzinfo=UTC)),
        (sa.String(), "2020-01-06"),
    ],
)
def test_a_day_begins_as_the_columns_own_type_has_it(kind, bound):
    assert sql._bound(sa.Column("x", kind), date(2020, 1, 6)) == bound


def test_a_pipeline_whose_events_lie_in_a_database_is_landed(rides, url, monkeypatch):
    source = rides.source.model_copy(update={"events": TABLE, "labels": None})
    cleaning = rides.cleaning.model_copy(update={"columns": dict.fromkeys(COLUMNS, "string")})
    mine = rides.model_copy(update={"source": source, "cleaning": cleaning})
    with pytest.raises(ConfigError, match="set AIRFLOW_CONN_SHOP"):
        land(mine, [DAY], "run")
    monkeypatch.setenv("AIRFLOW_CONN_SHOP", url)

    first, second = land(mine, [DAY], "one"), land(mine, [DAY], "two")

    assert first != second
    raw = Path(first).parents[2] / "raw"
    assert len(list(raw.glob("events/**/*.jsonl.gz"))) == 1
