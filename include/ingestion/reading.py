"""This file reads a delivery's bytes, CSV, JSON lines or Parquet, into rows of text with each row's place in it."""

import base64
import gzip
import json
import logging
import zlib
from collections.abc import Collection, Iterable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyarrow import csv

from include.errors import BadDeliveryError
from include.ingestion.delivered import Delivered, as_text
from include.spelling import did_you_mean

log = logging.getLogger(__name__)

# Columns every landed file has besides the delivered ones.
SOURCE_DAY, SOURCE_FILE, SOURCE_ROW, MALFORMED = "source_day", "source_file", "source_row", "malformed"
SOURCE = (SOURCE_DAY, SOURCE_FILE, SOURCE_ROW, MALFORMED)
BOMS = {b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16", b"\x00\x00\xfe\xff": "UTF-32"}


def read(delivered: Delivered, day: str, file: str, columns: Iterable[str], optional: Collection[str] = ()) -> pa.Table:
    """Read a delivery with every column as text, empty fields as null, and each row's place in the file.

    Lines that are no rows are kept as rows whose `malformed` column holds the text.

    :param file: the name rows remember as the file they came from.
    :raises BadDeliveryError: if it cannot be read, or lacks one of the columns that is not optional.
    """
    content = _unpacked(delivered)
    if not content.strip():
        raise BadDeliveryError(
            f"{delivered.origin}: is empty ({len(delivered.content)} bytes), a header at least was expected. "
            "Have it delivered again."
        )
    parse = {".csv": _csv, ".jsonl": _json_lines, ".parquet": _parquet}[delivered.suffix.removesuffix(".gz")]
    table, numbers, bad_lines = parse(delivered.origin, content)
    check_columns(delivered.origin, table.column_names, columns, optional)
    return _with_source(table, numbers, bad_lines, day, file)


def check_columns(origin: str, found: list[str], columns: Iterable[str], optional: Collection[str] = ()) -> None:
    """Hold a delivery's columns against those wanted; others are named in the log, their order does not matter.

    :raises BadDeliveryError: naming missing columns with the delivered ones most like them, or doubled ones.
    """
    wanted = list(columns)
    advice = f"columns found: {found}. Have it delivered again"
    if twice := sorted({name for name in found if found.count(name) > 1}):
        raise BadDeliveryError(f"{origin}: has more than one column {twice}; {advice}.")
    if reserved := sorted(set(found) & set(SOURCE)):
        raise BadDeliveryError(f"{origin}: has a column {reserved}, a name Evergreen keeps for itself; {advice}.")
    extra = [name for name in found if name not in wanted]
    missing = [name for name in wanted if name not in found]
    if refused := [name for name in missing if name not in optional]:
        guess = "".join(did_you_mean(name, extra).replace("Did you mean", f"Is '{name}' now") for name in refused)
        raise BadDeliveryError(
            f"{origin}: column {refused} of the pipeline's YAML is missing; {advice}, or change 'cleaning' in the YAML "
            f"('cleaning.optional' names columns that may be missing).{guess}"
        )
    if missing:
        log.info("%s: has no %s, which is optional: null in its rows", origin, missing)
    if extra:
        log.info("%s: columns %s are not in the YAML; they are kept in the raw zone only", origin, extra)


Parsed = tuple[pa.Table, "np.ndarray[Any, Any]", list[tuple[int, str]]]  # good rows, their numbers, bad lines


def _unpacked(delivered: Delivered) -> bytes:
    if not delivered.suffix.endswith(".gz") or not delivered.content:
        return delivered.content
    try:
        return gzip.decompress(delivered.content)
    except (EOFError, zlib.error, OSError) as error:
        raise BadDeliveryError(
            f"{delivered.origin}: cannot be unpacked ({error}): {len(delivered.content)} bytes, cut off or no gzip. "
            "Have it delivered again."
        ) from error


def _csv(origin: str, content: bytes) -> Parsed:
    bad_lines: list[tuple[int, str]] = []

    def keep(line: csv.InvalidRow) -> str:
        bad_lines.append((line.number, line.text))
        return "skip"

    try:
        table = csv.read_csv(
            pa.py_buffer(content),
            # One thread: only then the handler is told the number of a malformed line.
            read_options=csv.ReadOptions(use_threads=False),
            parse_options=csv.ParseOptions(newlines_in_values=True, ignore_empty_lines=False, invalid_row_handler=keep),
            convert_options=csv.ConvertOptions(
                default_column_type=pa.string(), null_values=[""], strings_can_be_null=True
            ),
        )
        _ = table.column_names  # decoded only now
    except (pa.ArrowInvalid, UnicodeDecodeError, OSError) as error:
        _refuse_encoding(origin, content)
        raise BadDeliveryError(f"{origin}: not readable as CSV: {error}. Have it delivered again.") from error
    numbers = np.arange(2, 2 + len(table) + len(bad_lines))  # records are numbered, and the header is the first
    good = np.setdiff1d(numbers, [number for number, _ in bad_lines], assume_unique=True)
    return table, good, bad_lines


def _json_lines(origin: str, content: bytes) -> Parsed:
    _refuse_encoding(origin, content)
    rows: list[dict[str, str | None]] = []
    good: list[int] = []
    bad_lines: list[tuple[int, str]] = []
    for number, line in enumerate(content.decode("utf-8-sig").split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line, parse_float=str, parse_int=str)  # numbers stay as they were written
        except ValueError:
            row = None
        if isinstance(row, dict):
            rows.append({name: as_text(value) for name, value in row.items()})
            good.append(number)
        else:
            bad_lines.append((number, line))
    if not rows:
        raise BadDeliveryError(
            f"{origin}: not readable as JSON lines: none of its {len(bad_lines)} lines is an object like "
            f'{{"column": "value"}}; the first is {bad_lines[0][1][:80]!r}. Have it delivered again.'
        )
    names = list(dict.fromkeys(name for row in rows for name in row))
    table = pa.table({name: pa.array([row.get(name) for row in rows], pa.string()) for name in names})
    return table, np.array(good, dtype=np.int64), bad_lines


def _parquet(origin: str, content: bytes) -> Parsed:
    try:
        table = pq.read_table(pa.BufferReader(content))
    except (pa.ArrowInvalid, OSError) as error:
        raise BadDeliveryError(
            f"{origin}: not readable as Parquet: {error}. {len(content)} bytes, cut off or no Parquet: have it "
            "delivered again."
        ) from error
    texts = [_column_as_text(origin, name, table[name]) for name in table.column_names]
    return pa.table(texts, names=table.column_names), np.arange(1, 1 + len(table)), []


def _is_bytes(column: pa.ChunkedArray) -> bool:
    """Tell whether a column holds bytes that are no text, such as pictures: some writers call text so as well."""
    if not (pa.types.is_binary(column.type) or pa.types.is_large_binary(column.type)):
        return False
    try:
        column.cast(pa.large_string())
    except pa.ArrowInvalid:
        return True
    return False


def _as_base64(column: pa.ChunkedArray) -> pa.ChunkedArray:
    values = [None if value is None else base64.b64encode(value).decode() for value in column.to_pylist()]
    return pa.chunked_array([pa.array(values, pa.string())])


def _column_as_text(origin: str, name: str, column: pa.ChunkedArray) -> pa.ChunkedArray:
    kind = column.type
    if pa.types.is_nested(kind):
        return pa.chunked_array([pa.array([as_text(value) for value in column.to_pylist()], pa.string())])
    if pa.types.is_dictionary(kind):
        column = column.cast(kind.value_type)
    if pa.types.is_timestamp(kind):
        # A moment is written in UTC; one without a zone stays as it is, and is read as UTC like all text.
        column = column.cast(pa.timestamp("us", "UTC" if kind.tz else None), safe=False)
    try:
        text = _as_base64(column) if _is_bytes(column) else column.cast(pa.string())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise BadDeliveryError(
            f"{origin}: column '{name}' is {kind}, which has no text to clean ({error}). Deliver it as text, a number, "
            "a date or a boolean."
        ) from error
    return pc.if_else(pc.equal(text, ""), None, text)


def _refuse_encoding(origin: str, content: bytes) -> None:
    """Say where a text stops being UTF-8, if it does."""
    if kind := next((kind for bom, kind in BOMS.items() if content.startswith(bom)), None):
        raise BadDeliveryError(f"{origin}: is {kind}, UTF-8 was expected. Have it delivered again as UTF-8.")
    try:
        content.decode()
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        seen = content[max(0, error.start - 10) : error.end + 9].decode("latin-1").replace("\n", " ")
        raise BadDeliveryError(
            f"{origin}: is not UTF-8: byte 0x{content[error.start]:02x} in line {line}, which reads '{seen}' as "
            "Latin-1. Have it delivered again as UTF-8."
        ) from error


def _with_source(
    table: pa.Table, numbers: "np.ndarray[Any, Any]", bad_lines: list[tuple[int, str]], day: str, file: str
) -> pa.Table:
    """Add where each row came from; malformed lines are kept, blank ones are not."""
    blank = np.logical_and.reduce([column.is_null().to_numpy() for column in table.columns])
    rows = table.append_column(SOURCE_ROW, pa.array(numbers, pa.int64()))
    rows = rows.append_column(MALFORMED, pa.nulls(len(rows), pa.string())).filter(pa.array(~blank))
    malformed = pa.table(
        {
            SOURCE_ROW: pa.array([n for n, _ in bad_lines], pa.int64()),
            MALFORMED: pa.array([t for _, t in bad_lines], pa.string()),
        }
    )
    rows = pa.concat_tables([rows, malformed], promote_options="default").combine_chunks()
    rows = rows.append_column(SOURCE_FILE, pa.repeat(file, len(rows)))
    return rows.append_column(SOURCE_DAY, pa.repeat(day, len(rows)))
