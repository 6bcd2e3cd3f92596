"""This file is the two forms in which rows come and answers go: JSON, and Arrow's stream for who asks about many."""

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from include.errors import BadRequestError
from include.pipeline import ANSWER_ID
from include.serving.folding import at_most, refuse_compressed, refuse_folded
from include.serving.json_rows import rows_of
from include.serving.limits import endpoint_limits
from include.serving.model import Served

Rows = list[dict[str, Any]]

# What is often sent instead of a stream, by how it begins; Arrow's own words for these are about bytes of metadata.
_MISTAKEN = {
    b"ARROW1": "it is Arrow's file format (Feather). Write the stream format, with `pa.ipc.new_stream`.",
    b"PAR1": "it is Parquet. Write the table with `pa.ipc.new_stream`.",
    b"{": "it looks like JSON. Send JSON with the Content-Type application/json.",
}


class Format(ABC):
    """How bodies are written."""

    media_type: ClassVar[str]

    @staticmethod
    @abstractmethod
    def rows_of(body: bytes) -> Rows:
        """Return the rows of a request's body.

        :raises BadRequestError: if it has none, too many, or is something else.
        """

    @staticmethod
    @abstractmethod
    def write(served: Served, answers: Rows) -> bytes:
        """Return the answers of a version as a body."""


class Json(Format):
    """`{"instances": [{...}, ...]}`, and `{"pipeline": …, "version": …, "predictions": [{...}, ...]}`."""

    media_type = "application/json"
    rows_of = staticmethod(rows_of)

    @staticmethod
    def write(served: Served, answers: Rows) -> bytes:
        """Return the answers as one object."""
        return msgspec.json.encode({"pipeline": served.pipeline, "version": served.version, "predictions": answers})


class Arrow(Format):
    """A table, a column per field; its answer says pipeline and version in the schema's metadata."""

    media_type = "application/vnd.apache.arrow.stream"

    @staticmethod
    def rows_of(body: bytes) -> Rows:
        """Return the rows of a table; a date, and a timestamp at midnight, is the text that JSON would have."""
        try:
            refuse_compressed(body)
            with pa.ipc.open_stream(body) as reader:
                if len(set(reader.schema.names)) < len(reader.schema.names):
                    raise BadRequestError("A column is there more than once.", status=400, reason="bad_field")
                batches = at_most(reader, endpoint_limits().rows)
                table = pa.Table.from_batches(batches, reader.schema)
            table.validate(full=True)  # what a stranger's offsets point at
            refuse_folded(table)
            columns = [_as_in_json(column) for column in table.columns]
            rows: Rows = pa.Table.from_arrays(columns, table.column_names).to_pylist()
        except (pa.ArrowException, OSError) as error:
            why = next((said for start, said in _MISTAKEN.items() if body.startswith(start)), str(error))
            raise BadRequestError(f"The body is no Arrow stream: {why}", status=400, reason="not_arrow") from error
        if not rows:
            raise BadRequestError("The table has no rows.", status=400, reason="rows", field="instances")
        return rows

    @staticmethod
    def write(served: Served, answers: Rows) -> bytes:
        """Return the answers as a stream."""
        kinds = {ANSWER_ID: pa.string(), served.key: pa.string()} | {
            field.name: field.type for field in served.task.fields
        }
        told = {"pipeline": served.pipeline, "version": str(served.version)}
        columns = {name: [_as_map(answer[name]) for answer in answers] for name in kinds}
        columns[served.key] = [str(key) for key in columns[served.key]]
        table = pa.table(columns, schema=pa.schema(list(kinds.items()), metadata=told))
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
        found: bytes = sink.getvalue().to_pybytes()
        return found


JSON, ARROW = Json(), Arrow()
FORMATS: dict[str, Format] = {each.media_type: each for each in (JSON, ARROW)}


def _as_in_json(column: pa.ChunkedArray) -> pa.ChunkedArray:
    if pa.types.is_decimal(column.type):
        return column.cast(pa.float64())
    if pa.types.is_timestamp(column.type):  # a day, as pandas has it
        return pc.replace_substring_regex(column.cast(pa.string()), r"^(\S+) 00:00:00(\.0+)?$", r"\1")
    return column.cast(pa.string()) if pa.types.is_temporal(column.type) else column


def _as_map(value: Any) -> Any:
    return list(value.items()) if isinstance(value, dict) else value
