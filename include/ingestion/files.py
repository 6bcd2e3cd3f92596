"""This file finds deliveries that are files: on this machine, or wherever an fsspec URL points."""

import re
from typing import Any
from urllib.parse import urlsplit

from include.errors import ConfigError, SourceUnavailableError
from include.filesystems import BY_ARROW, filesystem_of
from include.ingestion.delivered import Delivered
from include.partition import is_day
from include.settings import load_settings
from include.sources import Files, format_of

CREDENTIALS = (
    "Credentials are taken from where the cloud's own tools look (S3: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY or "
    "~/.aws; Google: GOOGLE_APPLICATION_CREDENTIALS; Azure: AZURE_STORAGE_ACCOUNT_NAME, AZURE_STORAGE_ACCOUNT_KEY or "
    "`az login`), in the environment of Airflow's processes."
)


def where(source: Files, day: str) -> str:
    """Return the path or URL of a day's delivery."""
    return _located(source.path, day)


def is_delivered(source: Files, day: str) -> bool:
    """Return whether a day's delivery is there, complete as far as the source can tell."""
    return (source.marker is None or bool(_found(_located(source.marker, day)))) and bool(_found(where(source, day)))


def days_of(source: Files) -> list[str]:
    """Return the days that files are there for, oldest first."""
    inner = source.path.rpartition("://")[2].lstrip("./")
    if source.path.startswith(BY_ARROW):
        inner = urlsplit(source.path).path  # no account, no bucket, none of the store's settings
    inner = re.escape(inner).replace(r"\*", ".*").replace(r"\?", ".")
    inner = inner.replace(r"\{date\}", r"(?P<day>\d{4}-\d\d-\d\d)", 1).replace(r"\{date\}", "(?P=day)")
    pattern = re.compile(f".*?{inner}")
    # Beside another star the day's would mean folders of any depth, which fsspec refuses within a name.
    everything = re.sub(r"(?<=[^/*])\*{2,}|\*{2,}(?=[^/*])", "*", _located(source.path, "*-*-*"))
    found = (pattern.fullmatch(path) for _, path in _found(everything))
    return sorted({match["day"] for match in found if match and is_day(match["day"])})


def fetch(source: Files, day: str) -> list[Delivered]:
    """Return a day's files in the order of their names, none if they are not there (yet).

    :raises SourceUnavailableError: if the place they lie in does not answer.
    """
    if not is_delivered(source, day):
        return []
    delivered = []
    for filesystem, path in _found(where(source, day)):
        suffix = f".{source.format or format_of(source.path)}{'.gz' if path.endswith('.gz') else ''}"
        try:
            content = filesystem.cat_file(path)
        except OSError as error:
            raise SourceUnavailableError(f"{path}: is there, but could not be read: {error}") from error
        delivered.append(Delivered(path, suffix, content))
    return delivered


def _located(path: str, day: str) -> str:
    path = path.replace("{date}", day)
    return path if "://" in path else str(load_settings().data / path)


def _found(path: str) -> list[tuple[Any, str]]:
    try:
        filesystem, inner = _open(path)
        # Otherwise fsspec takes a folder that it may not list for an empty one, and a refused file for one not there.
        paths = sorted(filesystem.glob(inner, on_error="raise")) if "*" in inner or "?" in inner else [inner]
        return [(filesystem, each) for each in paths if filesystem.info(each)["type"] == "file"]
    except FileNotFoundError:
        return []
    except OSError as error:
        hint = f" {CREDENTIALS}" if path.startswith(BY_ARROW) else ""
        raise SourceUnavailableError(f"{path}: did not answer, or refused: {error}.{hint}") from error


def _open(path: str) -> tuple[Any, str]:
    try:
        return filesystem_of(path)
    except (ValueError, ImportError) as error:
        raise ConfigError(f"{path}: cannot be opened: {error}") from error
