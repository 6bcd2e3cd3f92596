"""This file keeps finished models in the object store of `EVERGREEN_LAKE`, and brings them to this disk when asked for.

The copy here lies where the model would lie without a store. It is compared with what is there each time, file by file.
"""

import logging
import shutil
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from pathlib import Path, PurePosixPath
from uuid import uuid4

from include.errors import ArtefactError
from include.settings import load_settings

log = logging.getLogger(__name__)


def keep(pipeline_name: str, folder: Path) -> str:
    """Take a finished model's folder to where every machine finds it, and return its URI; without a store, its path."""
    root = _root(pipeline_name)
    if root is None:
        return str(folder)
    from include.platforms import storage  # the image of the endpoint loads it only where there is a store

    storage.put_folder(folder, f"{root}/{folder.name}")
    return f"{root}/{folder.name}"


def folder_of(model_uri: Path | str) -> Path:
    """Return the folder on this disk of a model: one that lies in a store is fetched, unless it is here unaltered.

    While the store does not answer, the copy that is here does: its graph is checked before it is loaded.

    :raises ArtefactError: if it is not there, or a file is another one than was put there.
    """
    if "://" not in str(model_uri):
        return Path(model_uri)
    from include.platforms import storage

    uri, folder = str(model_uri), copy_of(str(model_uri))
    try:
        if not storage.is_same(folder, uri):
            _fetch(uri, folder)
    except OSError as error:
        if not folder.exists():
            raise
        log.warning("%s does not answer (%s): the copy in %s is used", uri, error, folder)
    return folder


def copy_of(model_uri: str) -> Path:
    """Return where a model of the store is kept on this disk."""
    *_, pipeline_name, _, name = PurePosixPath(model_uri).parts
    return load_settings().models / pipeline_name / name


def kept(pipeline_name: str) -> dict[str, datetime]:
    """Return the URIs of a pipeline's models in the store, with the time each was last written."""
    root = _root(pipeline_name)
    if root is None:
        return {}
    from include.filesystems import files_below, location_of

    written: dict[str, datetime] = {}
    for path, at in files_below(root).items():
        uri = f"{root}/{path.relative_to(location_of(root)).parts[0]}"
        written[uri] = max(at, written.get(uri, at))
    return written


def copies(pipeline_name: str) -> Iterator[Path]:
    """Yield the folders of all models on this disk, those of the store as they are there.

    One whose writing was interrupted is put there again, from the copy that it was written from.
    """
    for uri in kept(pipeline_name):
        try:
            folder_of(uri)
        except ArtefactError:
            if not copy_of(uri).exists():
                raise
            put_back(copy_of(uri))
    yield from (load_settings().models / pipeline_name).glob("*")


def put_back(folder: Path) -> None:
    """Write a model's folder again into the store that it came from, if it did."""
    root = _root(folder.parent.name)
    if folder.parent.parent == load_settings().models and f"{root}/{folder.name}" in kept(folder.parent.name):
        keep(folder.parent.name, folder)


def _root(pipeline_name: str) -> str | None:
    lake_url = load_settings().lake_url
    return f"{lake_url}/{pipeline_name}/models" if lake_url else None


def _fetch(uri: str, folder: Path) -> None:
    from include.platforms import storage

    aside, old = (folder.with_name(f".{folder.name}.{uuid4().hex[:8]}") for _ in range(2))
    try:
        storage.fetch_folder(uri, aside)
        with suppress(FileNotFoundError):
            folder.rename(old)
        with suppress(OSError):  # another process has put it there a moment ago
            aside.rename(folder)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)
    log.info("Fetched %s into %s", uri, folder)
