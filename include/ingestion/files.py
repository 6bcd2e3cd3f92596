"""This file lands deliveries that are CSV files: their bytes as delivered, and the same rows as all-string Parquet."""

import hashlib
import json
import logging
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import csv

from include.atomic import replacing, write_text
from include.errors import BadDeliveryError, DeliveryMissingError
from include.pipeline import Files, Pipeline
from include.settings import load_settings

log = logging.getLogger(__name__)

# Columns every landed file has besides the delivered ones.
SOURCE_DAY, SOURCE_FILE, SOURCE_ROW, MALFORMED = "source_day", "source_file", "source_row", "malformed"
SOURCE = (SOURCE_DAY, SOURCE_FILE, SOURCE_ROW, MALFORMED)


def is_delivered(pipeline: Pipeline, day: str) -> bool:
    """Return whether both files of a day lie in the landing zone."""
    return not _missing(pipeline, [day])


def land(pipeline: Pipeline, days: list[str], run_key: str) -> str:
    """Copy the days' deliveries into the raw zone and return the path of the run's `landed.json`.

    Raw files are named by their content: landing the same bytes again changes nothing, a corrected redelivery lies
    beside the first one.

    :raises DeliveryMissingError: naming every file that is not there.
    :raises BadDeliveryError: if a file is no CSV, or lacks a column of the YAML.
    """
    if missing := _missing(pipeline, days):
        raise DeliveryMissingError(
            f"{pipeline.name}: {len(missing)} of {2 * len(days)} files are not delivered: "
            f"{', '.join(str(path) for path in missing)}. Deliver them, or ask for other days."
        )
    wanted = {"events": list(pipeline.cleaning.columns), "labels": list(pipeline.cleaning.labels)}
    raw = load_settings().lake / pipeline.name / "raw"

    def land_day(day: str) -> dict[str, str]:
        return {
            kind: str(_land_file(path, raw / kind, day, wanted[kind]))
            for kind, path in delivery_of(pipeline, day).items()
        }

    with ThreadPoolExecutor(2) as pool:
        landed = dict(zip(days, pool.map(land_day, days), strict=True))
    index = load_settings().lake / pipeline.name / "runs" / run_key / "landed.json"
    write_text(index, json.dumps({"days": landed}, indent=1))
    log.info("Landed %s days of %s, listed in %s", len(days), pipeline.name, index)
    return str(index)


def delivery_of(pipeline: Pipeline, day: str) -> dict[str, Path]:
    """Return where a day's events and labels are delivered."""
    sources: dict[str, Files] = {"events": pipeline.source.events, "labels": pipeline.source.labels}
    return {kind: load_settings().data / files.path.replace("{date}", day) for kind, files in sources.items()}


def read_delivery(delivery: Path, day: str, columns: Iterable[str]) -> pa.Table:
    """Read a CSV (or .csv.gz) with every column as text, empty fields as null, and each row's place in the file.

    Lines with too few or too many fields are kept as rows whose `malformed` column holds the text.

    :raises BadDeliveryError: if it is no CSV, or lacks one of the columns.
    """
    table, bad_lines = _parse(delivery, delivery.read_bytes())
    _check_columns(delivery, table.column_names, columns)
    return _with_source(table, bad_lines, day, delivery.name)


def _missing(pipeline: Pipeline, days: list[str]) -> list[Path]:
    paths = [path for day in days for path in delivery_of(pipeline, day).values()]
    return [path for path in paths if not path.is_file()]


def _land_file(delivery: Path, folder: Path, day: str, columns: list[str]) -> Path:
    content = delivery.read_bytes()
    name = hashlib.sha256(content).hexdigest()[:12]
    delivered = folder / f"day={day}" / f"{name}{''.join(delivery.suffixes)}"
    landed = delivered.with_name(f"{name}.parquet")
    if landed.exists():
        _check_columns(delivery, pq.read_schema(landed).names, columns)
        return landed
    table, bad_lines = _parse(delivery, content)
    _check_columns(delivery, table.column_names, columns)
    table = _with_source(table, bad_lines, day, str(delivered.relative_to(folder.parent.parent)))
    with replacing(delivered) as temporary:
        temporary.write_bytes(content)
    with replacing(landed) as temporary:
        pq.write_table(table, temporary, compression="zstd", write_statistics=False)
    return landed


def _parse(delivery: Path, content: bytes) -> tuple[pa.Table, list[tuple[int, str]]]:
    bad_lines: list[tuple[int, str]] = []

    def keep(line: csv.InvalidRow) -> str:
        bad_lines.append((line.number, line.text))
        return "skip"

    try:
        table = csv.read_csv(
            pa.input_stream(pa.py_buffer(content), compression="gzip" if delivery.suffix == ".gz" else None),
            # One thread: only then the handler is told the number of a malformed line.
            read_options=csv.ReadOptions(use_threads=False),
            parse_options=csv.ParseOptions(newlines_in_values=True, ignore_empty_lines=False, invalid_row_handler=keep),
            convert_options=csv.ConvertOptions(
                default_column_type=pa.string(), null_values=[""], strings_can_be_null=True
            ),
        )
    except (pa.ArrowInvalid, OSError) as error:
        raise BadDeliveryError(
            f"{delivery}: not readable as CSV in UTF-8: {error}. Have it delivered again."
        ) from error
    return table, bad_lines


def _check_columns(delivery: Path, found: list[str], columns: Iterable[str]) -> None:
    delivered = [name for name in found if name not in SOURCE]
    twice = sorted({name for name in delivered if delivered.count(name) > 1})
    missing = [name for name in columns if name not in delivered]
    if twice:
        raise BadDeliveryError(f"{delivery}: has more than one column {twice}; columns found: {delivered}.")
    if missing:
        raise BadDeliveryError(
            f"{delivery}: column {missing} of the pipeline's YAML is missing; columns found: {delivered}. "
            "Have it delivered again, or change 'cleaning' in the YAML."
        )


def _with_source(table: pa.Table, bad_lines: list[tuple[int, str]], day: str, file: str) -> pa.Table:
    """Add where each row came from: records are numbered (the header is 1), malformed lines kept, blank ones not."""
    numbers = np.arange(2, 2 + len(table) + len(bad_lines))
    good = np.setdiff1d(numbers, [number for number, _ in bad_lines], assume_unique=True)
    blank = np.logical_and.reduce([column.is_null().to_numpy() for column in table.columns])
    rows = table.append_column(SOURCE_ROW, pa.array(good, pa.int64()))
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
