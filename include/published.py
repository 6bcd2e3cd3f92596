"""This file says where the files of published days lie, takes them there and removes those that nobody needs.

What is staged lies on this disk, where it stays. Where `EVERGREEN_LAKE` names an object store, what is published of it
is copied there before the commit, below the same names.
"""

import shutil
from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path, PurePosixPath

from pyiceberg.table import Table

from include.atomic import writing
from include.filesystems import files_below, filesystem_of, location_of
from include.settings import load_settings


def folder_of(pipeline_name: str) -> str:
    """Return the URI below which a pipeline's published files lie, a folder per cleaning."""
    return f"{load_settings().warehouse}/{pipeline_name}/staged"


def kept_as(pipeline_name: str, folder: str, path: str) -> str:
    """Return where a file of a staged folder, or the folder, lies once it is published."""
    if load_settings().lake_url is None:
        return path
    return "/".join([folder_of(pipeline_name), Path(folder).name, *Path(path).relative_to(folder).parts])


def take_there(paths: Sequence[str], uris: Sequence[str]) -> None:
    """Copy staged files to where they are kept; the same bytes by the same names, however often that is done."""
    lake_url = load_settings().lake_url
    if lake_url is None:
        return
    storage, _ = filesystem_of(lake_url)
    for path, uri in zip(paths, uris, strict=True):
        storage.put_file(path, str(location_of(uri)))


def brought_here(uris: Sequence[str], folder: Path) -> list[str]:
    """Return paths on this disk of files of the table: Spark is given no way into an object store.

    :param folder: is made, and takes copies of files that lie elsewhere.
    """
    lake_url = load_settings().lake_url
    if lake_url is None:
        return [str(location_of(uri)) for uri in uris]
    storage, _ = filesystem_of(lake_url)
    folder.mkdir(parents=True)
    paths = [folder / f"{number}.parquet" for number in range(len(uris))]
    with writing(folder):
        for path, uri in zip(paths, uris, strict=True):
            storage.get_file(str(location_of(uri)), str(path))
    return [str(path) for path in paths]


def needed_files(table: Table) -> tuple[set[PurePosixPath], set[PurePosixPath]]:
    """Return the data files, and the manifests and their lists, of every snapshot that is left, as `location_of`."""
    manifests = {each.manifest_path: each for snapshot in table.snapshots() for each in snapshot.manifests(table.io)}
    lists = {location_of(snapshot.manifest_list) for snapshot in table.snapshots()}
    data = {
        location_of(entry.data_file.file_path)
        for each in manifests.values()
        for entry in each.fetch_manifest_entry(table.io)
    }
    return data, {*lists, *(location_of(path) for path in manifests)}


def remove_staged(pipeline_name: str, needed: set[PurePosixPath], cutoff: datetime) -> int:
    """Remove folders that nobody published or no snapshot needs, and return their number.

    With an object store that is everything old that was staged on this disk, and there what is not needed.
    """
    here = (load_settings().lake / pipeline_name / "staged").glob("*")
    old = [path for path in here if {path}.isdisjoint(needed) and path.stat().st_mtime < cutoff.timestamp()]
    for path in old:
        shutil.rmtree(path)
    if load_settings().lake_url is None:
        return len(old)
    storage, there = filesystem_of(folder_of(pipeline_name))
    written: dict[PurePosixPath, datetime] = {}
    for found, at in files_below(folder_of(pipeline_name)).items():
        staged = PurePosixPath(there, found.relative_to(there).parts[0])
        written[staged] = max(at, written.get(staged, at))
    orphans = [staged for staged, at in written.items() if staged not in needed and at < cutoff]
    for staged in orphans:
        storage.rm(str(staged), recursive=True)
    return len({folder.name for folder in (*old, *orphans)})


def remove_metadata(table: Table, needed: Iterable[PurePosixPath], cutoff: datetime) -> int:
    """Remove a table's old metadata but what is needed, and return how many files went."""
    folder, kept = f"{table.location()}/metadata", set(needed)
    storage, _ = filesystem_of(folder)
    found = {path: at for path, at in files_below(folder).items() if path.name.endswith((".avro", ".metadata.json"))}
    unneeded = [path for path, at in found.items() if path not in kept and at < cutoff]
    for path in unneeded:
        with suppress(FileNotFoundError):
            storage.rm_file(str(path))
    return len(unneeded)
