import gzip
import json
from datetime import date
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from include.config import load_pipeline
from include.errors import BadDeliveryError, DeliveryMissingError
from include.ingestion.files import delivery_of, is_delivered, land, read_delivery
from include.partition import days_between
from include.pipeline import Pipeline

DAY = "2013-07-08"


@pytest.fixture
def pipeline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pipeline:
    monkeypatch.setenv("EVERGREEN_DATA", str(tmp_path))
    return load_pipeline("flight_delays")


def deliver(pipeline: Pipeline, day: str, **files: str) -> None:
    headers = {"events": ",".join(pipeline.cleaning.columns), "labels": ",".join(pipeline.cleaning.labels)}
    for kind, path in delivery_of(pipeline, day).items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(files.get(kind, headers[kind] + "\n"))


def read(tmp_path: Path, text: str | bytes, columns: tuple[str, ...] = ("a", "b"), name: str = "d.csv") -> list[dict]:
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_delivery(path, DAY, columns).to_pylist()


def test_values_are_text_as_delivered_and_empty_fields_are_null(tmp_path):
    [row] = read(tmp_path, 'a,b\n007,""\n')

    assert row == {
        "a": "007", "b": None, "source_row": 2, "malformed": None, "source_file": "d.csv", "source_day": DAY
    }  # fmt: skip


def test_rows_keep_their_number_past_malformed_and_blank_lines(tmp_path):
    rows = read(tmp_path, "a,b\n1,2\n\n3,4,5\n6,7\nhalf\n")

    assert [(row["source_row"], row["a"], row["malformed"]) for row in rows] == [
        (2, "1", None),
        (5, "6", None),
        (4, None, "3,4,5"),
        (6, None, "half"),
    ]


@pytest.mark.parametrize(
    ("text", "first"),
    [
        (b"\xef\xbb\xbfa,b\r\n1,2\r\n", "1"),
        (b'a,b\n"two\nlines",2\n', "two\nlines"),
        (b'a,b\n"say ""hi""",2\n', 'say "hi"'),
        ("a,b\né,2\n".encode(), "é"),
    ],
)
def test_the_dialects_of_spreadsheets_are_read(tmp_path, text, first):
    [row] = read(tmp_path, text)

    assert (row["a"], row["b"], row["malformed"]) == (first, "2", None)


def test_compressed_deliveries_are_read(tmp_path):
    [row] = read(tmp_path, gzip.compress(b"a,b\n1,2\n"), name="d.csv.gz")

    assert row["b"] == "2"


def test_columns_nobody_asked_for_are_kept_in_the_raw_zone(tmp_path):
    assert read(tmp_path, "a,b,extra\n1,2,3\n")[0]["extra"] == "3"


def test_a_file_with_only_a_header_has_no_rows(tmp_path):
    assert read(tmp_path, "a,b\n") == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "not readable"),
        (b"a,b\n\xff,2\n", "not readable"),
        (b"a,c\n1,2\n", r"column \['b'\].*missing; columns found: \['a', 'c'\]"),
        (b"a,b,a\n1,2,3\n", r"more than one column \['a'\]"),
    ],
)
def test_a_file_that_is_not_what_the_yaml_says_is_refused_by_name(tmp_path, text, message):
    with pytest.raises(BadDeliveryError, match=rf"d\.csv: .*{message}"):
        read(tmp_path, text)


def test_landing_names_every_missing_file(pipeline):
    deliver(pipeline, DAY)

    assert is_delivered(pipeline, DAY)
    assert not is_delivered(pipeline, "2013-07-09")
    with pytest.raises(DeliveryMissingError, match=r"2 of 4 .*events/2013-07-09.csv, .*labels/2013-07-09.csv"):
        land(pipeline, [DAY, "2013-07-09"], "run")


def test_landing_keeps_the_bytes_and_lists_the_rows(pipeline, tmp_path):
    deliver(pipeline, DAY, labels="flight_id,arr_delay\nx,1\n")

    index = json.loads(Path(land(pipeline, [DAY], "run")).read_text())

    labels = Path(index["days"][DAY]["labels"])
    row = pq.read_table(labels).to_pylist()[0]
    assert labels.is_relative_to(tmp_path / "lake" / "flight_delays" / "raw" / "labels" / f"day={DAY}")
    assert labels.with_suffix(".csv").read_text() == "flight_id,arr_delay\nx,1\n"
    assert row["source_file"] == f"raw/labels/day={DAY}/{labels.stem}.csv"


def test_a_redelivery_lies_beside_the_first_and_the_same_bytes_change_nothing(pipeline):
    deliver(pipeline, DAY, labels="flight_id,arr_delay\nx,1\n")
    first = land(pipeline, [DAY], "one")
    before = {path: path.stat().st_mtime_ns for path in Path(first).parents[2].glob("raw/**/*.*")}
    land(pipeline, [DAY], "again")
    assert {path: path.stat().st_mtime_ns for path in before} == before

    deliver(pipeline, DAY, labels="flight_id,arr_delay\nx,2\n")
    land(pipeline, [DAY], "two")

    assert len(list(Path(first).parents[2].glob("raw/labels/**/*.csv"))) == 2
    assert not list(Path(first).parents[2].glob("raw/**/.*"))


def test_landed_files_are_held_against_todays_yaml_too(pipeline):
    deliver(pipeline, DAY, labels="flight_id,arr_delay\nx,1\n")
    land(pipeline, [DAY], "one")
    wider = pipeline.model_copy(
        update={"cleaning": pipeline.cleaning.model_copy(update={"labels": {"flight_id": "string", "tip": "double"}})}
    )

    with pytest.raises(BadDeliveryError, match="tip"):
        land(wider, [DAY], "two")


def test_a_range_is_landed_in_one_index(pipeline):
    days = days_between(date(2013, 7, 1), date(2013, 7, 5))
    for day in days:
        deliver(pipeline, day)

    assert list(json.loads(Path(land(pipeline, days, "range")).read_text())["days"]) == days
