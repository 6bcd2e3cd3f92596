"""This file takes days in: what every kind of source hands over is kept as it came, beside the same rows as Parquet."""

import hashlib
import json
import logging
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow.parquet as pq

from include.atomic import replacing, write_text
from include.errors import BadDeliveryError, ConfigError, DeliveryMissingError, SourceUnavailableError
from include.ingestion import files, http, sql
from include.ingestion.delivered import Delivered
from include.ingestion.reading import SOURCE, check_columns, read
from include.partition import days_around
from include.pipeline import Pipeline
from include.settings import load_connections, load_settings
from include.sources import Files, Http, Sql

log = logging.getLogger(__name__)

Landed = dict[str, list[str]]  # the landed Parquet files of one day: events, labels (none, if they come late)
Urls = Mapping[str, str]  # a connection's URL, by the connection's name


def is_delivered(pipeline: Pipeline, day: str, urls: Urls | None = None) -> bool:
    """Return whether all that a night waits for is there: the events, and labels that are not said to come later."""
    urls = load_connections(pipeline.source.connections) if urls is None else urls
    return all(_is_there(source_of(pipeline, kind), day, urls) for kind in _awaited(pipeline))


def land(
    pipeline: Pipeline,
    days: list[str],
    run_key: str,
    urls: Urls | None = None,
    late: Mapping[str, Landed] | None = None,
) -> str:
    """Copy the days' deliveries into the raw zone and return the path of the run's `landed.json`.

    Raw files are named by their content: landing the same bytes again changes nothing, a corrected redelivery lies
    beside the first one.

    :param urls: URLs of the connections that the sources name; from the environment if not given.
    :param late: further days that are landed already, and whose labels have arrived since.
    :raises DeliveryMissingError: naming everything that is not there.
    :raises BadDeliveryError: if a delivery cannot be read, or lacks a column of the YAML.
    """
    urls = load_connections(pipeline.source.connections) if urls is None else urls
    with ThreadPoolExecutor(2) as pool:
        found = dict(zip(days, pool.map(lambda day: land_day(pipeline, day, urls), days), strict=True))
    wanted = [(day, source_of(pipeline, kind), found[day][kind]) for day in days for kind in _awaited(pipeline)]
    missing = [(day, source) for day, source, files_there in wanted if not files_there]
    if missing:
        raise DeliveryMissingError(
            f"{pipeline.name}: {len(missing)} of {len(wanted)} deliveries are not there: "
            f"{', '.join(_where(source, day) for day, source in missing)}.{_nearest(*missing[0])} "
            "Deliver them, or ask for other days."
        )
    index = index_of(pipeline, run_key)
    # What an earlier attempt of this run has published is not cleaned again, but late labels must find its events.
    earlier, landed = landed_days(pipeline, run_key), {**(late or {}), **found}
    write_text(index, json.dumps({"days": dict(sorted(landed.items())), "earlier": earlier}, indent=1))
    log.info("Landed %s days of %s, listed in %s", len(landed), pipeline.name, index)
    return str(index)


def land_day(pipeline: Pipeline, day: str, urls: Urls) -> Landed:
    """Land what is there of one day and return the landed files by kind."""
    kinds = ["events", "labels"] if pipeline.source.labels else ["events"]
    return {"labels": [], **{kind: land_kind(pipeline, day, kind, urls) for kind in kinds}}


def land_kind(pipeline: Pipeline, day: str, kind: str, urls: Urls) -> list[str]:
    """Land a day's events or labels and return the landed files, none if they are not there (yet)."""
    landed = [str(_land_file(pipeline, each, day, kind)) for each in fetch(pipeline, kind, day, urls)]
    return list(dict.fromkeys(landed))  # a file that was delivered twice under two names counts once


def check_landed(pipeline: Pipeline, landed: Path, kind: str) -> None:
    """Hold a file that was landed before against today's YAML.

    :raises BadDeliveryError: if it lacks a column.
    """
    found = [column for column in pq.read_schema(landed).names if column not in SOURCE]
    check_columns(str(landed), found, columns_of(pipeline, kind), pipeline.cleaning.optional)


def columns_of(pipeline: Pipeline, kind: str) -> list[str]:
    """Return the columns that the YAML has for events or labels."""
    return list(pipeline.cleaning.columns if kind == "events" else pipeline.cleaning.labels)


def landed_days(pipeline: Pipeline, run_key: str) -> dict[str, Landed]:
    """Return what a run has landed in all its attempts, by day."""
    index = index_of(pipeline, run_key)
    content = json.loads(index.read_text()) if index.exists() else {"days": {}, "earlier": {}}
    return {**content["earlier"], **content["days"]}


def index_of(pipeline: Pipeline, run_key: str) -> Path:
    """Return where a run lists what it has landed."""
    return load_settings().lake / pipeline.name / "runs" / run_key / "landed.json"


def source_of(pipeline: Pipeline, kind: str) -> Files | Sql | Http:
    """Return where events or labels come from."""
    source = pipeline.source.events if kind == "events" else pipeline.source.labels
    if source is None:
        raise BadDeliveryError(f"{pipeline.name} has no 'source.{kind}'.")
    return source


def _awaited(pipeline: Pipeline) -> list[str]:
    labels = pipeline.source.labels
    return ["events", "labels"] if labels and not labels.delay_days else ["events"]


def _where(source: Files | Sql | Http, day: str) -> str:
    match source:
        case Files():
            return files.where(source, day)
        case Sql():
            return sql.where(source, day)
        case Http():
            return http.where(source, day)


def _nearest(day: str, source: Files | Sql | Http) -> str:
    try:
        there = files.days_of(source) if isinstance(source, Files) else []
    except (SourceUnavailableError, ConfigError):  # who may read files may perhaps not list them
        there = []
    return f" {days_around(day, there)}" if there and day not in there else ""


def _is_there(source: Files | Sql | Http, day: str, urls: Urls) -> bool:
    match source:
        case Files():
            return files.is_delivered(source, day)
        case Sql():
            return sql.is_delivered(source, day, urls[source.connection])
        case Http():
            return http.is_delivered(source, day, urls[source.connection] if source.connection else None)


def fetch(pipeline: Pipeline, kind: str, day: str, urls: Urls) -> list[Delivered]:
    """Return what a day's source hands over, nothing if it is not there (yet)."""
    match source := source_of(pipeline, kind):
        case Files():
            return files.fetch(source, day)
        case Sql():
            return sql.fetch(
                source, day, columns_of(pipeline, kind), pipeline.cleaning.optional, urls[source.connection]
            )
        case Http():
            return http.fetch(source, day, urls[source.connection] if source.connection else None)


def _land_file(pipeline: Pipeline, delivered: Delivered, day: str, kind: str) -> Path:
    folder = load_settings().lake / pipeline.name
    columns, optional = columns_of(pipeline, kind), pipeline.cleaning.optional
    name = hashlib.sha256(delivered.content).hexdigest()[:12]
    raw = folder / "raw" / kind / f"day={day}" / f"{name}{delivered.suffix}"
    # Parquet is delivered under the same ending as what we make of it.
    landed = raw.with_name(f"{name}.rows.parquet")
    if landed.exists():
        check_landed(pipeline, landed, kind)
        landed.touch()  # in use again: expiry goes by age
        return landed
    table = read(delivered, day, str(raw.relative_to(folder)), columns, optional)
    with replacing(raw) as temporary:
        temporary.write_bytes(delivered.content)
    with replacing(landed) as temporary:
        pq.write_table(table, temporary, compression="zstd", write_statistics=False)
    return landed
