import json
import math
from datetime import UTC, date, datetime
from types import SimpleNamespace

import pytest
from pyspark.sql import functions as F  # noqa: N812

from include.cleaning import rules
from include.config import load_pipeline
from include.pipeline import Deduplicate, Join


def outcomes(rows) -> list[str | None]:
    return [row[rules.BROKEN] for row in rows.orderBy("source_row").collect()]


def cast(delivered, kind: str, *texts: str | None):
    return rules.cast_columns(delivered(["x"], *((text,) for text in texts)), {"x": kind})


@pytest.mark.parametrize(
    ("kind", "texts", "values", "broken"),
    [
        ("string", ("007", None), ["007", None], [None, None]),
        ("bigint", (" 12 ", "1.5", "many"), [12, None, None], [None, "type:x", "type:x"]),
        ("double", ("-0.5", "NaN", "Infinity"), [-0.5, None, None], [None, "type:x", "type:x"]),
        ("boolean", ("true", "maybe"), [True, None], [None, "type:x"]),
        ("date", ("2013-07-08", "08.07.2013"), [date(2013, 7, 8), None], [None, "type:x"]),
        ("double", (None,), [None], [None]),
    ],
)
def test_text_gets_its_type_or_breaks_it(delivered, kind, texts, values, broken):
    rows = cast(delivered, kind, *texts)

    assert [row["x"] for row in rows.orderBy("source_row").collect()] == values
    assert outcomes(rows) == broken


def test_timestamps_are_moments_in_utc(delivered):
    rows = cast(delivered, "timestamp", "2013-07-08T10:00:00Z", "2013-07-08T12:00:00+02:00", "2013-07-08 10:00:00")

    moments = [row["at"] for row in rows.select(F.unix_seconds("x").alias("at")).collect()]

    assert moments == [int(datetime(2013, 7, 8, 10, tzinfo=UTC).timestamp())] * 3


@pytest.fixture
def in_new_york(spark):
    """The JVM of a machine whose clock is New York's."""
    zones = spark._jvm.java.util.TimeZone
    before = zones.getDefault()
    zones.setDefault(zones.getTimeZone("America/New_York"))
    yield
    zones.setDefault(before)


def test_the_hour_that_daylight_saving_skips_or_repeats_is_the_same_everywhere(delivered, in_new_york):
    texts = ("2013-03-10 02:30:00", "2013-11-03 01:30:00", "2013-11-03T01:30:00-04:00", "2013-11-03T01:30:00-05:00")

    rows = cast(delivered, "timestamp", *texts).select(F.unix_seconds("x").alias("at"), F.to_date("x").cast("string"))

    moments = [datetime(2013, 3, 10, 2, 30), *(datetime(2013, 11, 3, hour, 30) for hour in (1, 5, 6))]
    assert [row["at"] for row in rows.collect()] == [int(each.replace(tzinfo=UTC).timestamp()) for each in moments]


def test_a_clock_that_is_ahead_gives_a_row_of_another_day(delivered):
    moments = cast(delivered, "timestamp", "2013-07-08T23:59:59-00:30", "2013-07-08T23:59:59Z")

    rows = rules.mark_wrong_day(moments.withColumn("x", F.to_date("x")), "x")

    assert outcomes(rows) == ["wrong_day", None]


def test_a_malformed_line_breaks_nothing_but_that(delivered):
    delivery = delivered(["key"], (None,)).withColumn("malformed", F.lit("half,a,line"))

    rows = rules.mark_missing(rules.cast_columns(delivery, {"key": "string"}), "key")

    assert outcomes(rows) == ["malformed"]


def test_an_empty_key_is_missing_and_one_of_a_wrong_type_is_not(delivered):
    rows = rules.mark_missing(cast(delivered, "bigint", None, "many", "7"), "x")

    assert outcomes(rows) == ["missing:x", "type:x", None]


def test_a_row_of_another_day_is_told_apart(delivered):
    rows = rules.mark_wrong_day(cast(delivered, "date", "2013-07-08", "2013-07-09", None), "x")

    assert outcomes(rows) == [None, "wrong_day", None]


def test_the_first_in_order_stays_and_broken_rows_do_not_compete(delivered):
    columns = {"key": "string", "n": "bigint"}
    rows = rules.cast_columns(delivered(list(columns), ("a", "1"), ("a", "2"), ("a", "many"), ("b", "1")), columns)

    latest = rules.mark_duplicates(rows, Deduplicate(by=["key"], order=["source_row desc"]))
    smallest = rules.mark_duplicates(rows, Deduplicate(by=["key"], order=["n"]))

    assert outcomes(latest) == ["duplicate", None, "type:n", None]
    assert outcomes(smallest) == [None, "duplicate", "type:n", None]


def test_days_of_one_run_do_not_compete_so_a_range_gives_what_nights_give(delivered):
    both = delivered(["x"], ("a",)).union(delivered(["x"], ("a",), day="2013-07-09"))

    rows = rules.mark_duplicates(rules.cast_columns(both, {"x": "string"}), Deduplicate(by=["x"], order=["source_row"]))

    assert outcomes(rows) == [None, None]


def test_only_what_is_false_breaks_a_rule(delivered):
    rows = rules.mark_rules(
        cast(delivered, "bigint", "5", "-5", None, "500"), {"positive": "x > 0", "small": "x < 100"}
    )

    assert outcomes(rows) == [None, "positive", None, "small"]


def test_every_rule_a_row_breaks_is_named(delivered):
    rows = rules.mark_rules(cast(delivered, "bigint", "-5"), {"positive": "x > 0", "even": "x % 2 = 0"})

    assert outcomes(rows) == ["positive,even"]


def test_a_reference_adds_columns_and_never_rows(delivered, spark):
    text = "tail string, year string, seats string"
    planes = spark.createDataFrame([("N1", "1999", "100"), ("N1", "2001", "200"), ("N2", "old", "50")], text)
    rows = rules.cast_columns(delivered(["tail"], ("N1",), ("N2",), ("N3",), (None,)), {"tail": "string"})
    join = Join(
        reference="planes", on={"tail": "upper(tail)"}, take={"year": "try_cast(year as double)", "seats": "seats"}
    )

    joined = rules.join_reference(rows, planes, join).orderBy("source_row").collect()

    assert [(row["tail"], row["year"], row["seats"]) for row in joined] == [
        ("N1", 1999.0, "100"),
        ("N2", None, "50"),
        ("N3", None, None),
        (None, None, None),
    ]


def test_labels_come_beside_the_events_of_their_day(delivered):
    events = rules.cast_columns(delivered(["key"], ("a",), ("b",), ("c",)), {"key": "string"})
    types = {"key": "string", "delay": "double"}
    today = delivered(list(types), ("a", "5"), ("b", "soon"))
    other_day = delivered(list(types), ("c", "9"), day="2013-07-09")
    labels = rules.cast_columns(today.union(other_day), types)

    pipeline = SimpleNamespace(key="key", label_key="key", outcomes={"delay": "double"})
    joined = rules.join_labels(events, labels, pipeline).orderBy("source_row").collect()

    assert [(row["key"], row["delay"]) for row in joined] == [("a", 5.0), ("b", None), ("c", None)]


def test_derived_columns_may_use_earlier_ones_and_missing_values_are_filled(delivered):
    rows = cast(delivered, "double", "3", None)

    rows = rules.fill(rules.derive(rows, {"twice": "x * 2", "odd": "twice / 0"}), {"twice": -1.0})

    assert [(row["twice"], row["odd"]) for row in rows.orderBy("source_row").collect()] == [(6.0, None), (-1.0, None)]


def test_the_quarantine_keeps_the_row_as_it_was_delivered(delivered):
    rows = rules.mark_rules(cast(delivered, "double", "1e3", "-007"), {"positive": "x > 0"})

    [row] = rules.quarantined_rows(rows, "events").collect()

    assert row.asDict() == {
        "day": "2013-07-08", "source_kind": "events", "source_file": "d.csv", "source_row": 3, "rules": ["positive"],
        "row": json.dumps({"x": "-007"}, separators=(",", ":")),
    }  # fmt: skip
    assert [each["x"] for each in rules.clean_rows(rows).collect()] == [1000.0]


def test_names_with_odd_letters_are_columns_like_others(delivered):
    rows = rules.cast_columns(delivered(["the key", "a.b"], ("k", "1")), {"the key": "string", "a.b": "double"})

    rows = rules.fill(rules.mark_missing(rows, "the key"), {"a.b": 0.0})

    [row] = rows.collect()
    assert math.isclose(row["a.b"], 1.0)
    assert row[rules.BROKEN] is None


def test_the_clean_tables_columns_have_one_order():
    pipeline = load_pipeline("flight_delays")

    columns = rules.columns_of(pipeline)

    assert set(columns) == pipeline.clean_columns
    assert columns[:2] == ["flight_id", "flight_date"]
    assert columns[-1] == "late"


def test_rows_without_a_date_are_of_their_deliverys_day(delivered, rides):
    rows = rules.cast_columns(delivered(["ride_id"], ("r1",)), {"ride_id": "string"})

    [row] = rules.place_in_day(rows, rides.model_copy(update={"date": "night"})).collect()

    assert (row["night"].isoformat(), row["_broken"]) == ("2013-07-08", None)
