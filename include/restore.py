"""This file puts an installation back as a backup found it: all of it is checked before anything is changed."""

import json
import logging
import os
import zipfile
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from sqlalchemy import select

from include.backup import (
    CATALOG,
    CATALOG_ROWS,
    FILES,
    FORMAT,
    LAKE,
    LEDGER,
    LEDGER_ROWS,
    MANIFEST,
    MLFLOW,
    copy_rows,
    copy_sqlite,
    ledger_file,
    seal_of,
)
from include.catalog import sql_catalog
from include.errors import BackupError
from include.filesystems import filesystem_of, sizes_below
from include.ledger import Release, open_ledger, releases
from include.ledger.session import connect
from include.promotion import reconcile
from include.settings import Settings, load_settings
from include.stack import Stack

log = logging.getLogger(__name__)


def restore(path: Path, *, force: bool = False) -> dict[str, Any]:
    """Replace this installation by the one in an archive, and return its manifest. May be repeated after a kill.

    :param force: also where there is something to be replaced.
    :raises BackupError: if the archive is missing, not whole or not of this place, the services run, or data files are
        missing.
    """
    if not path.is_file():
        raise BackupError(f"{path}: there is no such file. Name an archive that `evergreen backup` has written.")
    settings = load_settings()
    settings.data.mkdir(parents=True, mode=0o700, exist_ok=True)
    if Stack(settings).is_up():
        raise BackupError(f"Evergreen's services run on {settings.data}: stop them (`make down`), then restore.")
    with TemporaryDirectory(prefix=".restore-", dir=settings.data) as place:
        folder = Path(place)
        manifest = _unpack(path, folder, settings)
        _check_data_files(manifest, settings)
        if not (force or settings.restoring.exists()):
            _check_that_nothing_is_lost(settings)
        with ledger_file(folder / LEDGER):
            pass  # an older archive's schema is brought up to date, a newer one's refused
        settings.restoring.touch()
        _put_back(folder, settings)
    _settle(settings)
    settings.restoring.unlink()
    log.info("Restored %s from %s, made at %s", settings.data, path, manifest["made_at"])
    return manifest


def _unpack(path: Path, folder: Path, settings: Settings) -> dict[str, Any]:
    try:
        with zipfile.ZipFile(path) as archive:
            manifest: dict[str, Any] = json.loads(archive.read(MANIFEST))
            _check_manifest(path, manifest, settings)
            for name, seal in manifest["files"].items():
                target = (folder / name).resolve()
                if not target.is_relative_to(folder.resolve()):
                    raise BackupError(f"{path}: the member '{name}' would be written outside the data folder.")
                target.parent.mkdir(parents=True, exist_ok=True)
                with archive.open(name) as member, target.open("wb") as stream:
                    found = seal_of(member, stream)  # type: ignore[arg-type]
                if found != seal:
                    raise BackupError(f"{path}: '{name}' is not what was backed up: expected {seal}, found {found}.")
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        if isinstance(error, BackupError):
            raise
        raise BackupError(f"{path}: not a whole backup of Evergreen ({error}). Nothing was changed.") from error
    return manifest


def _check_manifest(path: Path, manifest: dict[str, Any], settings: Settings) -> None:
    if manifest["format"] != FORMAT:
        raise BackupError(f"{path}: format {manifest['format']}, and this Evergreen reads {FORMAT}: use the newer one.")
    if manifest["data"] != str(settings.data):
        raise BackupError(
            f"{path} was made of {manifest['data']}, and its tables and models are known by full paths: restore it "
            f"there (EVERGREEN_DATA={manifest['data']}), not into {settings.data}."
        )
    if manifest.get("lake") != settings.lake_url:
        raise BackupError(
            f"{path} was made with the tables in {manifest.get('lake') or manifest['data']}: restore it with that as "
            f"EVERGREEN_LAKE, which is {settings.lake_url or 'not set'} here."
        )


def _check_data_files(manifest: dict[str, Any], settings: Settings) -> None:
    sizes = sizes_below(settings.lake_url or str(settings.data), manifest["needed"])
    missing = [name for name, size in manifest["needed"].items() if sizes.get(name) != size]
    if missing:
        raise BackupError(
            f"{len(missing)} of {len(manifest['needed'])} data files that the tables need are gone or altered, the "
            f"first is {settings.lake_url or settings.data}/{missing[0]}. Put them back, or restore a backup made "
            "--with-data."
        )


def _check_that_nothing_is_lost(settings: Settings) -> None:
    with open_ledger(settings.ledger_url) as session:
        rows = [table.name for table in LEDGER_ROWS.sorted_tables if session.execute(select(table).limit(1)).first()]
    with sql_catalog().engine.begin() as connection:
        rows += [table.name for table in CATALOG_ROWS.sorted_tables if connection.execute(table.select()).first()]
    if rows or (settings.data / MLFLOW).exists():
        raise BackupError(
            f"There is an installation in {settings.data} already (rows in: {', '.join(rows) or 'MLflow'}). Back it "
            "up, then give --force to replace it."
        )


def _put_back(folder: Path, settings: Settings) -> None:
    for source in sorted(path for path in (folder / FILES).rglob("*") if path.is_file()):
        target = settings.data / source.relative_to(folder / FILES)
        target.parent.mkdir(parents=True, exist_ok=True)
        os.replace(source, target)
    storage, root = filesystem_of(settings.warehouse)
    for source in sorted(path for path in (folder / LAKE).rglob("*") if path.is_file()):
        storage.put_file(str(source), f"{root}/{source.relative_to(folder / LAKE).as_posix()}")
    copy_rows(sql_catalog(f"sqlite:///{folder / CATALOG}").engine, sql_catalog().engine, CATALOG_ROWS)
    if (folder / MLFLOW).exists():
        copy_sqlite(folder / MLFLOW, settings.data / MLFLOW)
    with open_ledger(settings.ledger_url):
        pass
    with ledger_file(folder / LEDGER) as copied:
        copy_rows(copied, connect(settings.ledger_url), LEDGER_ROWS)


def _settle(settings: Settings) -> None:
    """Let endpoint state and registry alias say what the restored ledger says."""
    with open_ledger(settings.ledger_url) as session:
        for release in session.scalars(select(Release).where(Release.status == "promoting")).all():
            becomes = "retired" if release.serving_at else "approved"
            note = "A backup was restored while it was being promoted."
            releases.give_up_promotion(session, release.id, note=note, becomes=becomes)
        champions = session.scalars(select(Release.pipeline).where(Release.status == "champion")).all()
    for state in settings.serving.glob("*.json"):
        state.unlink()  # else its generation might be newer than any that the ledger knows
    for name in champions:
        reconcile(name)
