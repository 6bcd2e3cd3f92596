"""This file lists what a pipeline has left on the disk, with age and size, and removes what may go in one step each."""

import re
import shutil
from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

from include.models import copy_of, kept
from include.platforms import storage
from include.reports import LIBRARY
from include.retention import Item, Kind
from include.settings import Settings

# What include/atomic.py and `remove` leave when they are killed, and a training's scratch folder.
_TEMPORARY = re.compile(r"\..+\.[0-9a-f]{8}|\.training-.+")
_PATTERNS: dict[Kind, str] = {
    "raw": "raw/*/day=*",
    "landed": "raw/*/day=*/*.rows*.parquet",  # what is made of a delivery; a delivered Parquet has no `.rows`
    "quarantine": "quarantine/run=*",
    "predictions": "predictions/day=*",
    "scores": "scores/version=*/day=*",
    "runs": "runs/*",
}


def inventory(settings: Settings, pipeline_name: str) -> Iterator[Item]:
    """Yield everything that is kept or goes by its age; the clean table's own files are Iceberg's to judge."""
    lake, models = settings.lake / pipeline_name, settings.models / pipeline_name
    for kind, pattern in _PATTERNS.items():
        yield from _items(kind, lake.glob(pattern))
    yield from _items("reports", (path for path in lake.glob("reports/*/*") if path.parent.name != LIBRARY))
    there = {copy_of(uri): Item("models", copy_of(uri), at, uri=uri) for uri, at in kept(pipeline_name).items()}
    yield from there.values()
    yield from _items("models", (path for path in models.glob("*") if path not in there))
    for root in (lake, models):
        yield from _items("temporary", root.rglob(".*"))


def remove(item: Item) -> None:
    """Remove a file or a folder: a folder disappears whole, also from who is killed while emptying it."""
    if item.uri:
        storage.remove(item.uri)
    if item.path.is_dir():
        doomed = item.path
        if item.kind != "temporary":
            doomed = item.path.with_name(f".{item.path.name}.{uuid4().hex[:8]}")
            item.path.rename(doomed)
        shutil.rmtree(doomed, ignore_errors=True)
    else:
        item.path.unlink(missing_ok=True)


def _items(kind: Kind, paths: Iterable[Path]) -> Iterator[Item]:
    for path in paths:
        if bool(_TEMPORARY.fullmatch(path.name)) == (kind == "temporary"):
            with suppress(FileNotFoundError):  # a writer has moved or removed it since it was listed
                yield _item(kind, path)


def _item(kind: Kind, path: Path) -> Item:
    # The folder's own time would say when something was last taken out of it.
    files = [each.stat() for each in path.rglob("*") if each.is_file()] if path.is_dir() else []
    found = files or [path.stat()]
    written = max(each.st_mtime for each in found)
    return Item(kind, path, datetime.fromtimestamp(written, UTC), sum(each.st_size for each in found))
