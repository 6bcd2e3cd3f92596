"""This file copies an installation into one archive, also while it runs: ledger, table catalog, MLflow, models.

Ledger and catalog travel as rows in SQLite files, so that a laptop's can be restored into PostgreSQL. Evergreen's files
never change once written and are copied as they are; what lies in an object store stays there, but for the tables'
metadata, which later commits replace. The endpoint's declared state follows from the ledger; secrets and
Airflow's own database stay out (docs/ledger.md).
"""

import hashlib
import json
import logging
import sqlite3
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Any, BinaryIO

from pyiceberg.catalog.sql import (  # noqa: TID253 - the command line imports this when asked to
    IcebergTables,
    SqlCatalogBaseTable,
)
from sqlalchemy import Connection, Engine, MetaData, Table, func, select

from include import atomic
from include.catalog import all_tables, sql_catalog
from include.errors import BackupError
from include.filesystems import filesystem_of, location_of, sizes_below
from include.ledger import open_ledger, schema
from include.ledger.session import connect
from include.ledger.tables import Base
from include.published import needed_files
from include.settings import Settings, load_settings

log = logging.getLogger(__name__)

FORMAT = 1
MANIFEST = "manifest.json"
LEDGER, CATALOG, MLFLOW = "ledger.db", "catalog.db", "mlflow.db"
FILES = "data/"  # members below it keep their place in the data folder
LAKE = "lake/"  # members below it keep their place in the object store, if there is one
CATALOG_ROWS: MetaData = SqlCatalogBaseTable.metadata
LEDGER_ROWS: MetaData = Base.metadata
ATTEMPTS = 3
CHUNK = 1 << 20


def back_up(path: Path, *, with_data: bool = False) -> dict[str, Any]:
    """Write an archive in one step and return its manifest.

    :param with_data: take the whole lake along; without, a restore needs the tables' data files where they are now.
    :raises BackupError: if files of a table vanish while they are copied, however often it is tried, or the data folder
        is not where the tables were made, or the tables are not Evergreen's to copy.
    """
    settings = load_settings()
    if with_data and settings.lake_url is not None:
        raise BackupError(
            f"--with-data copies a lake that is a folder, and this one is {settings.lake_url}: let the store keep "
            "versions of its objects, and back up without it."
        )
    settings.data.mkdir(parents=True, exist_ok=True)
    with (
        TemporaryDirectory(prefix=".backup-", dir=settings.data) as place,
        atomic.replacing(path.resolve()) as temporary,
        zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
    ):
        folder = Path(place)
        # The ledger first: what it speaks of is then sure to be in what is copied after it.
        _copy_ledger(settings.ledger_url, folder / LEDGER)
        needed = _copy_catalog(settings, folder)
        if (settings.data / MLFLOW).exists():
            copy_sqlite(settings.data / MLFLOW, folder / MLFLOW)
        files = {
            **{FILES + path.relative_to(settings.data).as_posix(): path for path in _kept_files(settings, with_data)},
            **{path.relative_to(folder).as_posix(): path for path in _files_below(folder)},
        }
        manifest = _manifest(
            settings, {name: seal for name, path in files.items() if (seal := _add(archive, name, path))}
        )
        manifest["needed"] = _not_taken(settings, needed, manifest["files"], with_data=with_data)
        archive.writestr(MANIFEST, json.dumps(manifest, indent=1))
    log.info("Backed up %s into %s", settings.data, path)
    return manifest


def copy_rows(source: Engine, target: Engine, tables: MetaData) -> None:
    """Make the rows of these tables in one database those of another; the target changes in one transaction."""
    with source.begin() as connection:
        found = {
            table: [dict(row) for row in connection.execute(table.select()).mappings()]
            for table in tables.sorted_tables
        }
    with target.begin() as connection:
        for table in reversed(tables.sorted_tables):
            connection.execute(table.delete())
        for table, rows in found.items():
            if rows:
                connection.execute(table.insert(), rows)
                _count_on(connection, table)


def _count_on(connection: Connection, table: Table) -> None:
    # PostgreSQL counts beside the table: it would give numbers again that came with the rows.
    numbered = table.autoincrement_column
    if numbered is not None and connection.dialect.name == "postgresql":
        sequence = func.pg_get_serial_sequence(table.name, numbered.name)
        connection.execute(select(func.setval(sequence, select(func.max(numbered)).scalar_subquery())))


def copy_sqlite(source: Path, target: Path) -> None:
    """Make one SQLite database what another one is, also while that is written to."""
    with closing(sqlite3.connect(source)) as reader, closing(sqlite3.connect(target)) as writer:
        reader.backup(writer)


@contextmanager
def ledger_file(path: Path) -> Iterator[Engine]:
    """Give a ledger in a SQLite file, with today's schema; afterwards it is all in that one file.

    :raises SchemaError: if a newer Evergreen has written it.
    """
    engine = connect(f"sqlite:///{path}")
    try:
        schema.bring_up_to_date(engine)
        yield engine
    finally:
        engine.dispose()  # the last to close moves the write-ahead log into the file


def seal_of(stream: BinaryIO, into: BinaryIO) -> dict[str, Any]:
    """Copy a stream and return how long it was and its fingerprint."""
    sha256, size = hashlib.sha256(), 0
    while chunk := stream.read(CHUNK):
        into.write(chunk)
        sha256.update(chunk)
        size += len(chunk)
    return {"bytes": size, "sha256": sha256.hexdigest()}


def _copy_ledger(url: str, target: Path) -> None:
    with open_ledger(url):
        pass  # brings the schema up to date
    with ledger_file(target) as copied:
        copy_rows(connect(url), copied, LEDGER_ROWS)


def place_of(settings: Settings) -> tuple[str, PurePosixPath]:
    """Return what members of tables' files begin with, and the path below which they lie."""
    return (
        (FILES, location_of(str(settings.data)))
        if settings.lake_url is None
        else (LAKE, location_of(settings.lake_url))
    )


def _copy_catalog(settings: Settings, folder: Path) -> set[PurePosixPath]:
    """Copy the catalog and the tables' metadata as of one moment, and return the data files they refer to."""
    (prefix, place), (storage, _) = place_of(settings), filesystem_of(settings.warehouse)
    for attempt in range(1, ATTEMPTS + 1):
        copied = sql_catalog(f"sqlite:///{folder / CATALOG}")
        copy_rows(sql_catalog().engine, copied.engine, CATALOG_ROWS)
        _check_place(settings, copied.engine)
        try:
            needed = set[PurePosixPath]()
            for table in all_tables(copied):
                data, metadata = needed_files(table)
                for path in {*metadata, location_of(table.metadata_location)}:
                    target = folder / prefix / path.relative_to(place)
                    target.parent.mkdir(parents=True, exist_ok=True)
                    storage.get_file(str(path), str(target))
                needed |= data
        except FileNotFoundError as error:  # a commit or an expiry has removed it since
            log.warning("The tables changed while they were copied, attempt %s of %s: %s", attempt, ATTEMPTS, error)
        else:
            return needed
        finally:
            copied.engine.dispose()
    raise BackupError(
        f"The tables in {settings.warehouse} changed at each of {ATTEMPTS} attempts to copy them: try again."
    )


def _check_place(settings: Settings, catalog: Engine) -> None:
    with catalog.connect() as connection:
        paths = [location_of(str(uri)) for uri in connection.scalars(select(IcebergTables.metadata_location))]
    _, place = place_of(settings)
    if elsewhere := [path for path in paths if not path.is_relative_to(place)]:
        if settings.lake_url is not None:
            raise BackupError(f"EVERGREEN_LAKE is {settings.lake_url}, and a table lies in {elsewhere[0].parent}.")
        made_in = elsewhere[0].parents[4]  # lake/<namespace>/<table>/metadata/<file>
        raise BackupError(
            f"{settings.data} was moved or copied: its tables, known by full paths, were made in {made_in}. Try "
            f"with EVERGREEN_DATA={made_in}, and if that is no longer there, move this folder back to it first."
        )


def _kept_files(settings: Settings, with_data: bool) -> Iterator[Path]:
    yield from _files_below(settings.models)
    yield from _files_below(settings.data / "mlartifacts")
    if with_data:
        yield from (path for path in _files_below(settings.lake) if not path.name.startswith(CATALOG))


def _files_below(folder: Path) -> Iterable[Path]:
    # Names with a dot in front are half-written files (include/atomic.py).
    return sorted(path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))


def _add(archive: zipfile.ZipFile, name: str, path: Path) -> dict[str, Any] | None:
    try:
        with path.open("rb") as stream, archive.open(zipfile.ZipInfo(name), "w", force_zip64=True) as member:
            return seal_of(stream, member)  # type: ignore[arg-type]
    except FileNotFoundError:
        return None  # gone since it was listed: nothing that the copied ledger and tables need


def _manifest(settings: Settings, files: dict[str, Any]) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "made_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "evergreen": version("evergreen"),
        "schema": schema.revisions()[-1],
        "data": str(settings.data),
        "lake": settings.lake_url,
        "files": files,
    }


def _not_taken(
    settings: Settings, needed: set[PurePosixPath], files: dict[str, Any], *, with_data: bool
) -> dict[str, int]:
    """Return the sizes of the data files that a restore must find in place."""
    prefix, place = place_of(settings)
    names = {path.relative_to(place).as_posix(): path for path in needed}
    left = {name: path for name, path in sorted(names.items()) if prefix + name not in files}
    sizes = sizes_below(settings.lake_url or str(settings.data), left)
    if vanished := [name for name in left if with_data or name not in sizes]:
        raise BackupError(f"{len(vanished)} data files vanished during the backup, as {vanished[0]}. Make it again.")
    return sizes
