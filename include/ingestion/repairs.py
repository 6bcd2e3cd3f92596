"""This file puts repaired rows in the place of the broken ones they came of, when a day is ingested again.

A repair is a CSV that a person delivers beside the original, kept as it came; nothing that was landed is changed. Where
several repair the same row the last delivered one counts. A repair belongs to the very file it was made from: a
corrected delivery of the whole day has other bytes, and takes nothing over from it.
"""

import csv
import hashlib
import io
import json
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from include.atomic import replacing, write_text
from include.errors import BadDeliveryError
from include.ingestion.reading import MALFORMED, SOURCE, SOURCE_DAY, SOURCE_FILE, SOURCE_ROW
from include.settings import load_settings

KIND = "source_kind"
POSITION = (KIND, SOURCE_DAY, SOURCE_FILE, SOURCE_ROW)

Row = dict[str, str]


def keep_repair(pipeline_name: str, day: str, content: bytes) -> Path:
    """Put a repaired file beside a day's deliveries and return where; the newest one again is kept once."""
    name = f"{hashlib.sha256(content).hexdigest()[:12]}.csv"
    known = repairs_of(pipeline_name, day)
    if known and known[-1].name.endswith(name):
        return known[-1]
    path = _folder(pipeline_name, day) / f"{datetime.now(UTC):%Y%m%dT%H%M%S%f}-{name}"
    with replacing(path) as temporary:
        temporary.write_bytes(content)
    return path


def repairs_of(pipeline_name: str, day: str) -> list[Path]:
    """Return the repaired files of a day, oldest first."""
    return sorted(_folder(pipeline_name, day).glob("*.csv"))


def read_repair(path: Path) -> list[Row]:
    """Read a repaired file: every value as text, also where a spreadsheet has put semicolons for commas.

    :raises BadDeliveryError: if it is missing, is no CSV in UTF-8, or lacks the columns that say where its rows belong.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError as error:
        raise BadDeliveryError(
            f"{path}: there is no such file. Name the CSV that `evergreen quarantine export` wrote and you repaired."
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise BadDeliveryError(f"{path}: not readable as CSV in UTF-8: {error}. Save it as 'CSV UTF-8'.") from error
    header = text.split("\n", 1)[0]
    reader = csv.DictReader(
        io.StringIO(text, newline=""), delimiter=";" if header.count(";") > header.count(",") else ","
    )
    if missing := [name for name in POSITION if name not in (reader.fieldnames or [])]:
        raise BadDeliveryError(
            f"{path}: column {missing} is missing; columns found: {reader.fieldnames}. Repair the file that "
            "`evergreen quarantine export` wrote, and keep its first columns."
        )
    rows = []
    for number, row in enumerate(reader, 2):
        if None in row or None in row.values() or not (row[SOURCE_ROW] or "").isdecimal():
            raise BadDeliveryError(
                f"{path}: row {number} has not the {len(reader.fieldnames or [])} fields of the header, or no "
                f"number in '{SOURCE_ROW}': {dict(row)}. Mend or delete that row."
            )
        rows.append(row)
    return rows


def repaired_positions(pipeline_name: str, day: str) -> set[tuple[str, str, int]]:
    """Return kind, file and row of every row of a day that was repaired."""
    found = (row for path in repairs_of(pipeline_name, day) for row in read_repair(path))
    return {(row[KIND], row[SOURCE_FILE], int(row[SOURCE_ROW])) for row in found}


def applied(pipeline_name: str, landed_uri: str) -> str:
    """Return the path of a list of landed files, by day and kind, like the given one but with the repairs in them."""
    index = Path(landed_uri)
    landed = json.loads(index.read_text())["days"]
    repaired = {
        day: {
            kind: [str(with_repairs(pipeline_name, kind, day, Path(path))) for path in paths]
            for kind, paths in files.items()
        }
        for day, files in landed.items()
    }
    if repaired == landed:
        return landed_uri
    path = index.with_name("repaired.json")
    write_text(path, json.dumps({"days": repaired}, indent=1))
    return str(path)


def with_repairs(pipeline_name: str, kind: str, day: str, landed: Path) -> Path:
    """Return a landed file in which repaired rows stand in the place of the broken ones; the same file if none are."""
    files = repairs_of(pipeline_name, day)
    if not files:
        return landed
    table = pq.ParquetFile(landed).read()
    names = set(table[SOURCE_FILE].unique().to_pylist())
    # A later repair of the same row replaces an earlier one.
    rows = {
        int(row[SOURCE_ROW]): row
        for path in files
        for row in read_repair(path)
        if row[KIND] == kind and row[SOURCE_FILE] in names
    }
    if not rows:
        return landed
    mark = hashlib.sha256("".join(path.name for path in files).encode()).hexdigest()[:12]
    path = landed.with_name(f"{landed.stem}.repaired-{mark}.parquet")
    if path.exists():
        path.touch()  # in use again: expiry goes by age
    else:
        with replacing(path) as temporary:
            pq.write_table(replace_rows(table, rows), temporary, compression="zstd", write_statistics=False)
    return path


def replace_rows(table: pa.Table, rows: dict[int, Row]) -> pa.Table:
    """Replace rows by their number in the delivery; what they were is only their place in the file."""
    kept = table.filter(pc.invert(pc.is_in(table[SOURCE_ROW], value_set=pa.array(list(rows), pa.int64()))))
    place = {SOURCE_FILE: table[SOURCE_FILE][0].as_py(), SOURCE_DAY: table[SOURCE_DAY][0].as_py(), MALFORMED: None}
    made = [
        {**{name: row.get(name) or None for name in _delivered(table)}, **place, SOURCE_ROW: number}
        for number, row in sorted(rows.items())
    ]
    return pa.concat_tables([kept, pa.Table.from_pylist(made, schema=table.schema)]).combine_chunks()


def _delivered(table: pa.Table) -> Iterable[str]:
    return (name for name in table.column_names if name not in SOURCE)


def _folder(pipeline_name: str, day: str) -> Path:
    return load_settings().lake / pipeline_name / "raw" / "repaired" / f"day={day}"
