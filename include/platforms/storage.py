"""This file takes folders to a storage that a cluster's machines share, and back: whole, and every file as it was.

A folder's list of files with their fingerprints is written last: without it there is no folder.
"""

import hashlib
import json
from pathlib import Path, PurePosixPath
from typing import Any

from include.errors import ArtefactError
from include.filesystems import filesystem_of

INDEX = "files.json"


def put_folder(folder: Path, uri: str) -> None:
    """Copy a folder's files to a URI of fsspec."""
    files, there = filesystem_of(uri)
    listed = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        name = path.relative_to(folder).as_posix()
        files.makedirs(str(PurePosixPath(there, name).parent), exist_ok=True)
        files.put_file(str(path), f"{there}/{name}")
        listed[name] = _sha256(path)
    files.pipe_file(f"{there}/{INDEX}", json.dumps(listed).encode())


def fetch_folder(uri: str, folder: Path) -> None:
    """Copy a folder from a URI, and make sure that each file is the one that was put there.

    :raises ArtefactError: if it is not whole, or a file is another one.
    """
    files, there = filesystem_of(uri)
    for name, sha256 in _index(files, there, uri).items():
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
            raise ArtefactError(f"{uri}/{INDEX} names '{name}', which lies elsewhere: somebody else has written it.")
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            files.get_file(f"{there}/{name}", str(path))
        except FileNotFoundError as error:
            raise ArtefactError(f"{uri}/{name} is not there, though {INDEX} lists it. Train again.") from error
        if (found := _sha256(path)) != sha256:
            raise ArtefactError(
                f"{uri}/{name}: sha256 is {found}, expected {sha256}. It was altered after it was written: train again."
            )


def is_same(folder: Path, uri: str) -> bool:
    """Tell whether a folder on this disk holds what was put at a URI.

    :raises ArtefactError: if nothing is there, or not to its last file.
    """
    files, there = filesystem_of(uri)
    listed = _index(files, there, uri)
    return all((folder / name).is_file() and _sha256(folder / name) == sha256 for name, sha256 in listed.items())


def is_whole(uri: str) -> bool:
    """Tell whether a folder was put there to its last file."""
    files, there = filesystem_of(uri)
    return bool(files.exists(f"{there}/{INDEX}"))


def remove(uri: str) -> None:
    """Remove all that lies below a URI; nothing there is nothing to complain about."""
    files, there = filesystem_of(uri)
    if files.exists(there):
        files.rm(there, recursive=True)


def _index(files: Any, there: str, uri: str) -> dict[str, str]:
    try:
        listed: dict[str, str] = json.loads(files.cat_file(f"{there}/{INDEX}"))
    except FileNotFoundError as error:
        raise ArtefactError(f"{uri} is not there, or not to its last file: {INDEX} is missing.") from error
    return listed


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
