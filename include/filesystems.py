"""This file opens what a path or a URL points at: on this machine, or in a cloud's storage."""

from typing import Any

import fsspec
from fsspec.implementations.arrow import ArrowFSWrapper
from pyarrow.fs import FileSystem

# Arrow brings these in its wheel, and credentials from where the cloud's own tools look; s3fs, gcsfs and adlfs would
# bind the versions of half the environment.
BY_ARROW = ("s3://", "gs://", "gcs://", "abfs://", "abfss://")


def filesystem_of(url: str) -> tuple[Any, str]:
    """Return the file system as fsspec has them, and the path in it.

    :raises ValueError: if there is none for such URLs.
    :raises ImportError: if its library is not there.
    """
    if url.startswith(BY_ARROW):
        filesystem, inner = FileSystem.from_uri(url)
        return ArrowFSWrapper(filesystem), inner
    return fsspec.core.url_to_fs(url)
