"""This file refuses Arrow streams that would take far more memory than their bytes do, before they take it."""

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc
from flatbuffers.encode import Get
from flatbuffers.packer import uoffset
from flatbuffers.table import Table

from include.errors import BadRequestError
from include.serving.limits import endpoint_limits


def at_most(reader: pa.RecordBatchStreamReader, most: int) -> Sequence[pa.RecordBatch]:
    """Return a stream's batches, if they do not hold too many rows: a small body may say so of very many.

    :raises BadRequestError: if they do.
    """
    batches, num_rows = [], 0
    for batch in reader:
        num_rows += len(batch)
        if num_rows > most:
            raise BadRequestError(
                f"More than {most} rows in one request: split it.", status=413, reason="rows", field="instances"
            )
        batches.append(batch)
    return batches


def refuse_compressed(body: bytes) -> None:
    """Refuse what may unfold to a thousand times its size while it is read, whatever is said of its rows.

    :raises BadRequestError: if a buffer is compressed.
    """
    if any(map(_is_compressed, pa.ipc.MessageReader.open_stream(body))):
        raise BadRequestError(
            "The stream's buffers are compressed: write it without `compression`.", status=415, reason="body_kind"
        )


def refuse_folded(table: pa.Table) -> None:
    """Refuse columns in which a long value may be written once and meant in each of ten thousand rows.

    :raises BadRequestError: naming the column.
    """
    for name, column in zip(table.column_names, table.columns, strict=True):
        if not (_is_plain(column.type) or _is_text_by_number(column.type)):
            raise BadRequestError(f"'{name}' is a {column.type}: send numbers or text.", field=name)
        if _is_text_by_number(column.type) and _unfolded_bytes(column) > endpoint_limits().body_bytes:
            raise BadRequestError(
                f"'{name}' is larger than a body may be once its dictionary is looked up: split the table.",
                status=413,
                reason="body_size",
                field=name,
            )


def _is_plain(kind: pa.DataType) -> bool:
    return pa.types.is_primitive(kind) or any(
        is_it(kind)
        for is_it in (
            pa.types.is_null,
            pa.types.is_decimal,
            pa.types.is_string,
            pa.types.is_large_string,
            pa.types.is_binary,  # is refused by the field's own words
        )
    )


def _is_text_by_number(kind: pa.DataType) -> bool:
    return pa.types.is_dictionary(kind) and pa.types.is_string(kind.value_type)


def _unfolded_bytes(column: pa.ChunkedArray) -> int:
    lengths = (pc.take(pc.binary_length(chunk.dictionary), chunk.indices) for chunk in column.chunks)
    return sum(pc.sum(each).as_py() or 0 for each in lengths)


def _is_compressed(message: pa.ipc.Message) -> bool:
    """Return whether a message's `compression` is there: https://github.com/apache/arrow/blob/main/format/Message.fbs."""
    if message.type not in {"record batch", "dictionary"}:
        return False
    told = message.metadata.to_pybytes()
    batch = _child(Table(told, Get(uoffset, told, 0)), 2)  # the message's header
    if message.type == "dictionary":
        batch = _child(batch, 1)  # its data
    return bool(batch.Offset(_slot(3)))


def _child(table: Table, number: int) -> Table:
    return Table(table.Bytes, table.Indirect(table.Pos + table.Offset(_slot(number))))


def _slot(number: int) -> int:
    return 4 + 2 * number  # of a field in its table's index
