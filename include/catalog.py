"""This file opens the pipelines' Iceberg tables in their catalog (SQL, REST or Glue), and makes or widens them."""

import logging
from contextlib import suppress
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pyarrow as pa
import pyarrow.parquet as pq
from pyiceberg.catalog import Catalog, load_catalog
from pyiceberg.exceptions import (
    CommitFailedException,
    NamespaceAlreadyExistsError,
    NoSuchNamespaceError,
    NoSuchTableError,
    TableAlreadyExistsError,
    ValidationError,
)
from pyiceberg.table import Table
from sqlalchemy.exc import DBAPIError
from tenacity import retry, retry_if_exception_type, stop_after_attempt, wait_random

from include.errors import BackupError, ConfigError, SchemaChangeError
from include.filesystems import azure_account
from include.pipeline import Pipeline
from include.settings import load_settings, load_variables

if TYPE_CHECKING:
    from pyiceberg.catalog.sql import SqlCatalog

log = logging.getLogger(__name__)

NAMESPACE = "evergreen"
PROPERTIES = {
    # Without these, commits and their metadata grow with every night.
    "commit.manifest-merge.enabled": "true",
    "commit.manifest.min-count-to-merge": "8",
    "write.metadata.delete-after-commit.enabled": "true",
    "write.metadata.previous-versions-max": "20",
    "write.metadata.compression-codec": "none",
    "commit.retry.num-retries": "8",
    "commit.retry.total-timeout-ms": "60000",
}


# Two that open the first catalog, or make a table, at the same moment: one finds half of the other's work, once.
patiently = retry(
    retry=retry_if_exception_type(DBAPIError), stop=stop_after_attempt(5), wait=wait_random(0.05, 0.5), reraise=True
)


@patiently
def open_catalog(url: str | None = None) -> Catalog:
    """Return the catalog of all tables: this installation's, or one copied elsewhere.

    What `.pyiceberg.yaml` or `PYICEBERG_CATALOG__EVERGREEN__…` say beside (a token, a warehouse's name) holds as well.

    :raises ConfigError: if it is of no kind that is known here.
    """
    settings = load_settings()
    settings.lake.mkdir(parents=True, exist_ok=True)
    properties = kind_of(url or settings.catalog_url) | storage_properties(settings.warehouse)
    return load_catalog(NAMESPACE, **properties)


def kind_of(url: str) -> dict[str, str]:
    """Return PyIceberg's properties for the catalog at a URL.

    :raises ConfigError: if it is of no kind that is known here.
    """
    kind, _, rest = url.partition("://")
    if kind.startswith(("sqlite", "postgresql")):
        return {"type": "sql", "uri": url}
    if kind in {"http", "https"}:
        return {"type": "rest", "uri": url}
    if kind == "glue":
        return {"type": "glue"} | ({"glue.region": rest} if rest else {})
    raise ConfigError(
        f"EVERGREEN_CATALOG_URL is of kind '{kind}', expected sqlite:///…, postgresql+psycopg://…, https://… (REST) or "
        "glue://REGION."
    )


def storage_properties(warehouse: str) -> dict[str, str]:
    """Return PyIceberg's properties for the storage, from the variables that `include/filesystems.py` goes by."""
    found = {"py-io-impl": "pyiceberg.io.pyarrow.PyArrowFileIO"}  # else abfs:// wants adlfs
    if warehouse.startswith("s3://"):
        told = load_variables(["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_DEFAULT_REGION", "AWS_REGION"])
        known = {"ENDPOINT_URL": "s3.endpoint", "ENDPOINT_URL_S3": "s3.endpoint"}
        known |= {"DEFAULT_REGION": "s3.region", "REGION": "s3.region"}
        found |= {known[name.removeprefix("AWS_")]: value for name, value in told.items()}
    elif warehouse.startswith("abfs"):
        found |= {f"adls.{name.replace('_', '-')}": value for name, value in azure_account().items()}
    return found


def sql_catalog(url: str | None = None) -> "SqlCatalog":
    """Return a catalog whose rows can be copied.

    :raises BackupError: if it is kept by a service of its own.
    """
    from pyiceberg.catalog.sql import SqlCatalog

    catalog = open_catalog(url)
    if not isinstance(catalog, SqlCatalog):
        raise BackupError(
            f"The table catalog is {load_settings().catalog_url}, whose rows Evergreen cannot copy: use that service's "
            "own backup, your database's own for the ledger, and versions of its objects for the bucket."
        )
    return catalog


def all_tables(catalog: Catalog) -> list[Table]:
    """Return every pipeline's table."""
    try:
        return [catalog.load_table(name) for name in catalog.list_tables(NAMESPACE)]
    except NoSuchNamespaceError:
        return []


def open_table(pipeline_name: str) -> Table | None:
    """Return a pipeline's table as it stands now, or none if nothing was ever published."""
    try:
        return open_catalog().load_table((NAMESPACE, pipeline_name))
    except NoSuchTableError:
        return None


def table_for(pipeline: Pipeline, staged_file: str) -> Table:
    """Return the table, made or widened to hold the columns of a staged file; other columns of it are null there.

    :raises SchemaChangeError: if a column has a type now that the table's type cannot become.
    :raises ConfigError: if the table lies on another kind of storage than the settings say.
    """
    # Spark marks filled columns as required; a table column that could never be null again would bind later YAMLs.
    schema = pa.schema([field.with_nullable(True) for field in pq.read_schema(staged_file).remove_metadata()])
    table = open_table(pipeline.name) or _create(pipeline, schema)
    _check_place(table, load_settings().warehouse)
    known = {field.name: str(field.field_type) for field in table.schema().fields}
    try:
        with table.update_schema() as update:  # where nothing is new, nothing is committed
            update.union_by_name(schema)
    except ValidationError as error:
        raise SchemaChangeError(
            f"{pipeline.name}: {error} in the published table, whose old days would have to be written again. Keep the "
            "old type in 'cleaning.columns', and derive a column of another name with the new type, like "
            "`distance_exact: cast(distance as double)`."
        ) from error
    table = table.refresh()
    _tell(pipeline.name, known, {field.name: str(field.field_type) for field in table.schema().fields}, schema.names)
    return table


def _check_place(table: Table, warehouse: str) -> None:
    if urlsplit(table.location()).scheme != urlsplit(warehouse).scheme:
        raise ConfigError(
            f"The table {'.'.join(table.name())} lies in {table.location()}, and EVERGREEN_LAKE says {warehouse}: "
            "published days do not move. Set it back, or name an empty catalog (EVERGREEN_CATALOG_URL) and ingest all "
            "days again from their deliveries."
        )


def _tell(name: str, before: dict[str, str], after: dict[str, str], staged: list[str]) -> None:
    """Say in the log how the table and what is published into it differ."""
    if added := sorted(set(after) - set(before)):
        log.warning("%s: the table has new columns %s; they are null in the days published before", name, added)
    for column in before:
        if before[column] != after[column]:
            log.warning("%s: column '%s' was widened from %s to %s", name, column, before[column], after[column])
    if gone := sorted(set(before) - set(staged)):
        log.warning("%s: the YAML has no %s any more; the table keeps them, null in these days", name, gone)


@patiently
def _create(pipeline: Pipeline, schema: pa.Schema) -> Table:
    catalog = open_catalog()
    name = (NAMESPACE, pipeline.name)
    location = f"{load_settings().warehouse}/{NAMESPACE}/{pipeline.name}"
    with suppress(NamespaceAlreadyExistsError):
        catalog.create_namespace(NAMESPACE)
    with (
        suppress(TableAlreadyExistsError, CommitFailedException),  # another run has made it a moment ago
        catalog.create_table_transaction(name, schema, location, properties=PROPERTIES) as creation,
        creation.update_spec() as spec,
    ):
        spec.add_identity(pipeline.date)
    return catalog.load_table(name)
