"""This file opens what a path or a URL points at: on this machine, or in a cloud's storage."""

from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

import fsspec
from fsspec.implementations.arrow import ArrowFSWrapper
from pyarrow.fs import AzureFileSystem, FileSelector, FileSystem, FileType

from include.settings import load_variables

# Arrow brings these in its wheel, and credentials from where the cloud's own tools look; s3fs, gcsfs and adlfs would
# bind the versions of half the environment.
GOOGLE = ("gs://", "gcs://")
GOOGLE_SECONDS = 15  # that it is tried again for; by default a store that does not answer is waited for 15 minutes
BY_ARROW = ("s3://", *GOOGLE, "abfs://", "abfss://")
# Names that Azure's own tools read.
CONNECTION = "AZURE_STORAGE_CONNECTION_STRING"
ACCOUNT = "AZURE_STORAGE_ACCOUNT_NAME"
KEY = "AZURE_STORAGE_ACCOUNT_KEY"


def filesystem_of(url: str) -> tuple[Any, str]:
    """Return the file system as fsspec has them, and the path in it.

    :raises ValueError: if there is none for such URLs.
    :raises ImportError: if its library is not there.
    """
    if not url.startswith(BY_ARROW):
        return fsspec.core.url_to_fs(url)
    if url.startswith("abfs") and "@" not in urlsplit(url).netloc:
        filesystem, inner = AzureFileSystem(**azure_account()), str(location_of(url))
    else:
        filesystem, inner = FileSystem.from_uri(_with_patience(url))
    wrapped = (_GoogleFiles if filesystem.type_name == "gcs" else ArrowFSWrapper)(filesystem)
    wrapped.root_marker = ""  # fsspec 2026.9 knows of S3 and GCS only that their paths begin with no slash
    return wrapped, inner


class _GoogleFiles(ArrowFSWrapper):
    """Google's store as Arrow has it, which knows no folder that is only part of objects' names: most are just that.

    What lies below is found by one listing without folders: https://github.com/apache/arrow/issues/35993
    """

    def find(
        self, path: str, maxdepth: int | None = None, *, detail: bool = False, **_: Any
    ) -> list[str] | dict[str, Any]:
        """Return the files below a folder; folders are not told, even if asked for."""
        folder = self._strip_protocol(path).rstrip("/")
        entries = self.fs.get_file_info(FileSelector(folder, allow_not_found=True, recursive=True))
        files = [each for each in entries if each.type is FileType.File]
        depths = (each.path.removeprefix(folder).count("/") for each in files)
        found = [each for each, depth in zip(files, depths, strict=True) if maxdepth is None or depth <= maxdepth]
        return {each.path: self._make_entry(each) for each in found} if detail else [each.path for each in found]


def _with_patience(url: str) -> str:
    if not url.startswith(GOOGLE) or "retry_limit_seconds" in url:
        return url
    return f"{url}{'&' if '?' in url else '?'}retry_limit_seconds={GOOGLE_SECONDS}"


def location_of(url: str) -> PurePosixPath:
    """Return the path that a path or URL names in its file system: in an object store it begins with the bucket."""
    parts = urlsplit(url)
    if parts.scheme in {"", "file"}:
        return PurePosixPath(unquote(parts.path) if parts.scheme else url)
    return PurePosixPath(f"{parts.netloc}{parts.path}")


def files_below(url: str) -> dict[PurePosixPath, datetime]:
    """Return the files below a URL, wherever they lie, with the time each was last written; none where nothing is."""
    files, there = filesystem_of(url)
    if not files.exists(there):
        return {}
    found = files.find(there, detail=True)
    return {PurePosixPath(path): _moment(about["mtime"]) for path, about in found.items()}


def sizes_below(url: str, names: Iterable[str]) -> dict[str, int]:
    """Return the sizes in bytes of files by their name below a URL; of those that are there."""
    files, there = filesystem_of(url)
    found = {}
    for name in names:
        with suppress(FileNotFoundError):
            found[name] = int(files.info(f"{there}/{name}")["size"])
    return found


def azure_account() -> dict[str, str]:
    """Return the storage account that the environment names, as Arrow wants it; without a key, Arrow looks for one.

    :raises ValueError: if no account is named.
    """
    told = load_variables([CONNECTION, ACCOUNT, KEY])
    if CONNECTION in told:
        return _from_connection(told[CONNECTION])
    if ACCOUNT not in told:
        raise ValueError(f"abfs:// needs to know the storage account: set {ACCOUNT}, or {CONNECTION}.")
    return {"account_name": told[ACCOUNT]} | ({"account_key": told[KEY]} if KEY in told else {})


def _from_connection(text: str) -> dict[str, str]:
    given = dict(part.split("=", 1) for part in text.split(";") if "=" in part)
    account = {"account_name": given.get("AccountName", ""), "account_key": given.get("AccountKey", "")}
    if not all(account.values()):
        raise ValueError(f"{CONNECTION} names no AccountName, or no AccountKey: copy it whole.")
    if endpoint := given.get("BlobEndpoint"):  # an emulator, or a cloud of its own
        where = urlsplit(endpoint)
        for service in ("blob", "dfs"):
            account |= {f"{service}_storage_authority": where.netloc, f"{service}_storage_scheme": where.scheme}
    return account


def _moment(written: float | datetime) -> datetime:
    return written if isinstance(written, datetime) else datetime.fromtimestamp(written, UTC)
