import gzip
import io
import json
from datetime import UTC, date, datetime

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from include.errors import BadDeliveryError
from include.ingestion.delivered import Delivered
from include.ingestion.reading import read

DAY = "2013-07-08"


def parse(content: str | bytes, columns=("a", "b"), suffix: str = ".csv", optional=()) -> list[dict]:
    content = content if isinstance(content, bytes) else content.encode()
    return read(Delivered("in/d.csv", suffix, content), DAY, "d.csv", columns, optional).to_pylist()


def parquet(**columns) -> bytes:
    file = io.BytesIO()
    pq.write_table(pa.table(columns), file)
    return file.getvalue()


def test_values_are_text_as_delivered_and_empty_fields_are_null():
    [row] = parse('a,b\n007,""\n')

    assert row == {
        "a": "007", "b": None, "source_row": 2, "malformed": None, "source_file": "d.csv", "source_day": DAY
    }  # fmt: skip


def test_rows_keep_their_number_past_malformed_and_blank_lines():
    rows = parse("a,b\n1,2\n\n3,4,5\n6,7\nhalf\n")

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
def test_the_dialects_of_spreadsheets_are_read(text, first):
    [row] = parse(text)

    assert (row["a"], row["b"], row["malformed"]) == (first, "2", None)


def test_columns_in_another_order_are_the_same_rows():
    [one], [other] = parse("a,b\n1,2\n"), parse("b,a\n2,1\n")

    assert one == other


def test_columns_nobody_asked_for_are_kept_and_named_in_the_log(caplog):
    with caplog.at_level("INFO"):
        assert parse("a,b,extra\n1,2,3\n")[0]["extra"] == "3"

    assert "columns ['extra'] are not in the YAML" in caplog.text


def test_a_file_with_only_a_header_has_no_rows():
    assert parse("a,b\n") == []


def test_json_lines_keep_numbers_as_written_and_bad_lines_as_malformed():
    lines = ['{"a": 1.10, "b": true}', "", '{"b": null, "a": "", "c": [1]}', '{"a": 1, "b', "7"]

    rows = parse("\n".join(lines), suffix=".jsonl")

    assert [(row["source_row"], row["a"], row["b"], row["c"], row["malformed"]) for row in rows] == [
        (1, "1.10", "true", None, None),
        (3, None, None, '["1"]', None),
        (4, None, None, None, '{"a": 1, "b'),
        (5, None, None, None, "7"),
    ]


def test_bytes_that_are_no_text_become_base64_and_lists_json():
    content = parquet(a=[b"\x89PNG", None], b=[[[1, 2], [3, 4]], None], c=[b"text", b"too"])

    first, second = parse(content, ("a", "b", "c"), ".parquet")

    assert (first["a"], first["b"], first["c"]) == ("iVBORw==", "[[1, 2], [3, 4]]", "text")
    assert (second["a"], second["b"]) == (None, None)


def test_parquet_becomes_the_text_that_a_csv_would_have():
    moment = datetime(2013, 7, 8, 10, tzinfo=UTC)
    content = parquet(
        a=[1.0, 2.5], b=["x", ""], day=[date(2013, 7, 8), None], at=[moment, None],
        local=pa.array([moment, None], pa.timestamp("ns", "America/New_York")), is_it=[True, False],
        kind=pa.array(["u", "v"]).dictionary_encode(), many=[[1], None],
    )  # fmt: skip
    names = ("a", "b", "day", "at", "local", "is_it", "kind", "many")

    first, second = parse(content, names, ".parquet")

    assert [first[name] for name in names] == [
        "1", "x", "2013-07-08", "2013-07-08 10:00:00.000000Z", "2013-07-08 10:00:00.000000Z", "true", "u", "[1]"
    ]  # fmt: skip
    assert [second[name] for name in names] == ["2.5", None, None, None, None, "false", "v", None]
    assert (first["source_row"], second["source_row"]) == (1, 2)


@pytest.mark.parametrize(
    ("suffix", "content"),
    [(".csv", b"a,b\n1,2\n"), (".jsonl", b'{"a": 1, "b": 2}\n'), (".parquet", parquet(a=[1], b=[2]))],
)
def test_every_format_may_come_packed(suffix, content):
    [row] = parse(gzip.compress(content, mtime=0), suffix=f"{suffix}.gz")

    assert (row["a"], row["b"]) == ("1", "2")


def test_an_optional_column_may_be_missing(caplog):
    with caplog.at_level("INFO"):
        [row] = parse("a\n1\n", optional=["b"])

    assert "b" not in row
    assert "has no ['b'], which is optional" in caplog.text


@pytest.mark.parametrize(
    ("suffix", "content", "message"),
    [
        (".csv", b"", r"is empty \(0 bytes\), a header at least was expected"),
        (".csv", b"\n\n", r"is empty \(2 bytes\)"),
        (".csv", b"a,b\n1,2\nM\xfcller,2\n", r"is not UTF-8: byte 0xfc in line 3, which reads '.*Müller,2 '"),
        (".csv", "a,b\n1,2\n".encode("utf-16"), "is UTF-16, UTF-8 was expected"),
        (".csv", b"a,c\n1,2\n", r"column \['b'\].*missing; columns found: \['a', 'c'\]"),
        (".csv", b"a,b,a\n1,2,3\n", r"more than one column \['a'\]"),
        (".csv", b"a,b,malformed\n1,2,3\n", r"has a column \['malformed'\], a name Evergreen keeps"),
        (".csv.gz", gzip.compress(b"a,b\n" + b"1,2\n" * 99, mtime=0)[:-12], "cannot be unpacked .* bytes, cut off"),
        (".csv.gz", b"a,b\n1,2\n", "cannot be unpacked .*no gzip"),
        (".jsonl", b"a,b\n1,2\n", r"not readable as JSON lines: none of its 2 lines .* first is 'a,b'"),
        (".jsonl", b'{"a": "\xe9", "b": 1}\n', "is not UTF-8: byte 0xe9 in line 1"),
        (".parquet", parquet(a=[1], b=[2])[:-20], "not readable as Parquet: .*cut off"),
        (".parquet", b"a,b\n1,2\n", "not readable as Parquet"),
    ],
)
def test_a_file_that_is_not_what_the_yaml_says_is_refused_by_name(suffix, content, message):
    with pytest.raises(BadDeliveryError, match=rf"in/d\.csv: .*{message}"):
        parse(content, suffix=suffix)


def test_a_renamed_column_is_guessed():
    with pytest.raises(BadDeliveryError, match=r"Is 'distance' now 'distance_km'\?"):
        parse("ride,distance_km\n1,2\n", ("ride", "distance"))


def test_half_a_last_line_is_kept_as_malformed():
    *_, last = parse("a,b\n1,2\n3")

    assert (last["source_row"], last["malformed"]) == (3, "3")


def test_json_rows_are_one_object_a_line():
    assert json.loads(json.dumps(parse('{"a": "x", "b": {"c": 1}}\n', suffix=".jsonl")[0]))["b"] == '{"c": "1"}'
