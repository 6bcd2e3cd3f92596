from contextlib import suppress
from datetime import date, datetime
from decimal import Decimal

import pyarrow as pa
import pyarrow.feather
import pytest
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import strategies as st

from include.errors import BadRequestError
from include.learning.multiclass import Multiclass
from include.serving.app import create_app
from include.serving.formats import ARROW
from include.serving.limits import Limits
from include.serving.state import State, declare

STREAM = {"Content-Type": "application/vnd.apache.arrow.stream"}
ROWS = {
    "ride_id": ["r1", "r2"],
    "day": [date(2020, 1, 2), None],
    "distance": pa.array([2.0, None], pa.float32()),
    "carrier": pa.array(["AA", None]).dictionary_encode(),
}


def stream(columns, compression=None):
    table = pa.table(columns)
    sink = pa.BufferOutputStream()
    options = pa.ipc.IpcWriteOptions(compression=compression)
    with pa.ipc.new_stream(sink, table.schema, options=options) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes()


def feather(columns):
    sink = pa.BufferOutputStream()
    pa.feather.write_feather(pa.table(columns), sink, compression="uncompressed")
    return sink.getvalue().to_pybytes()


@pytest.fixture
def client(settings, make_model):
    declare(settings, State("rides", 1, 7, *make_model("m1", task=Multiclass(("AA", "UA")))))
    with TestClient(create_app(settings)) as found:
        yield found


def test_an_arrow_stream_is_answered_by_one_with_the_answers_that_json_gets(client):
    answered = client.post("/invocations/rides", content=stream(ROWS), headers=STREAM)
    rows = [
        {"ride_id": "r1", "day": "2020-01-02", "distance": 2.0, "carrier": "AA"},
        {"ride_id": "r2", "distance": None, "carrier": None},
    ]
    said = client.post("/invocations/rides", json={"instances": rows}).json()["predictions"]

    assert (answered.status_code, answered.headers["Content-Type"]) == (200, STREAM["Content-Type"])
    table = pa.ipc.open_stream(answered.content).read_all()
    assert table.schema.metadata == {b"pipeline": b"rides", b"version": b"7"}
    for found, each in zip(table.to_pylist(maps_as_pydicts="strict"), said, strict=True):
        del found["answer_id"], each["answer_id"]
        assert found == each


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "no Arrow stream"),
        (b'{"instances": []}', "it looks like JSON. Send JSON with"),
        (feather(ROWS), "it is Arrow's file format (Feather). Write the stream format, with `pa.ipc.new_stream`"),
        (b"PAR1" + bytes(80), "it is Parquet"),
        (stream(ROWS)[:-40], "no Arrow stream"),
        (stream({"distance": pa.array([], pa.float64())}), "no rows"),
        (stream({**ROWS, "distance": ["far", "near"]}), "'distance' is a string"),
        (stream({**ROWS, "carrier": [b"AA", b"UA"]}), "'carrier' is a bytes"),
        (stream({**ROWS, "distance": [float("nan"), 1.0]}), "'distance' is NaN"),
        (stream({"ride_id": ["r1"]}), "'distance', 'carrier' are missing"),
        (
            stream({**ROWS, "day": [datetime(2020, 1, 2, 10), None]}),
            "'day' is '2020-01-02 10:00:00.000000', expected a date",
        ),
        (stream({**ROWS, "day": pa.array([2**62, None], pa.timestamp("s"))}), "expected a date as YYYY-MM-DD"),
        (stream({**ROWS, "distance": pa.array([2**62, None], pa.duration("s"))}), "'distance' is a string"),
    ],
)
def test_what_is_wrong_in_a_stream_is_said(client, body, said):
    answer = client.post("/invocations/rides", content=body, headers=STREAM)

    assert answer.status_code in {400, 422}
    assert said in answer.json()["error"]


def test_decimals_are_numbers_and_timestamps_at_midnight_are_days():
    days = [datetime(2020, 1, 2), None]
    distances = pa.array([Decimal("2.50"), None])

    for unit in ("s", "us", "ns"):
        rows = ARROW.rows_of(stream({"day": pa.array(days, pa.timestamp(unit)), "distance": distances}))
        assert rows == [{"day": "2020-01-02", "distance": 2.5}, {"day": None, "distance": None}]


def test_a_few_bytes_that_say_to_be_very_many_rows_are_refused(monkeypatch):
    monkeypatch.setattr("include.serving.formats.endpoint_limits", lambda: Limits(rows=10))
    body = stream({"distance": pa.nulls(10**8)})

    assert len(body) < 1000
    with pytest.raises(BadRequestError, match="More than 10 rows"):
        ARROW.rows_of(body)


@pytest.mark.parametrize("compression", ["zstd", "lz4"])
@pytest.mark.parametrize(
    "columns", [{"carrier": ["A" * 10**6]}, {"carrier": pa.array(["A" * 10**6]).dictionary_encode()}]
)
def test_what_would_unfold_while_it_is_read_is_refused_before(columns, compression):
    body = stream(columns, compression)

    assert len(body) < 10_000
    with pytest.raises(BadRequestError, match="are compressed"):
        ARROW.rows_of(body)


def test_a_long_text_that_is_meant_in_every_row_is_refused():
    long = pa.array(["A" * 10**4])
    rows = pa.array([0] * 10**4, pa.int16())

    with pytest.raises(BadRequestError, match="once its dictionary is looked up") as caught:
        ARROW.rows_of(stream({"carrier": pa.DictionaryArray.from_arrays(rows, long)}))
    assert (caught.value.status, caught.value.field) == (413, "carrier")
    for folded in (
        pa.RunEndEncodedArray.from_arrays([10**4], long),
        pa.ListArray.from_arrays([0, 1], long.dictionary_encode()),
        long.cast(pa.string_view()),
    ):
        with pytest.raises(BadRequestError, match="send numbers or text"):
            ARROW.rows_of(stream({"carrier": folded}))


@given(st.binary(max_size=300) | st.integers(0, 600).map(lambda cut: stream(ROWS)[cut:]))
def test_no_bytes_are_a_failure_of_ours(body):
    with suppress(BadRequestError):
        assert len(ARROW.rows_of(body)) == 2


def test_the_description_has_a_page_for_each_model_with_what_training_has_seen(client, settings):
    described = client.get("/openapi.json").json()
    page = described["paths"]["/invocations/rides"]["post"]

    row = page["requestBody"]["content"]["application/json"]["schema"]["properties"]["instances"]["items"]
    assert page["summary"] == "Ask rides, version 7"
    assert STREAM["Content-Type"] in page["requestBody"]["content"]
    assert {"408", "415"} <= set(page["responses"])
    assert row["required"] == ["distance", "carrier"]
    assert set(row["properties"]) == {"distance", "carrier", "ride_id", "day"}
    assert row["properties"]["distance"]["description"].startswith("In training between -")
    assert "'AA'" in row["properties"]["carrier"]["description"]


def test_the_description_names_both_ways_to_send_a_key_and_needs_neither(client):
    described = client.get("/openapi.json").json()

    schemes = described["components"]["securitySchemes"]
    assert {each["type"] for each in schemes.values()} == {"http", "apiKey"}
    for path in ("/invocations", "/invocations/{pipeline}", "/invocations/rides"):
        assert described["paths"][path]["post"]["security"] == [{}, *({name: []} for name in schemes)]
    assert "security" not in described["paths"]["/metrics"]["get"]
