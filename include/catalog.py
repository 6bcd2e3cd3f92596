"""This file opens the pipelines' Iceberg tables in the SQL catalog, and makes or widens them."""

from contextlib import suppress

import pyarrow as pa
import pyarrow.parquet as pq
from pyiceberg.catalog import Catalog
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.exceptions import (
    CommitFailedException,
    NamespaceAlreadyExistsError,
    NoSuchNamespaceError,
    NoSuchTableError,
    TableAlreadyExistsError,
)
from pyiceberg.table import Table

from include.pipeline import Pipeline
from include.settings import load_settings

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


def open_catalog(url: str | None = None) -> SqlCatalog:
    """Return the catalog of all tables: this installation's, or one copied elsewhere."""
    settings = load_settings()
    settings.lake.mkdir(parents=True, exist_ok=True)
    return SqlCatalog(NAMESPACE, uri=url or settings.catalog_url, warehouse=settings.lake.as_uri())


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
    """Return the table, made or widened to hold the columns of a staged file."""
    # Spark marks filled columns as required; a table column that could never be null again would bind later YAMLs.
    schema = pa.schema([field.with_nullable(True) for field in pq.read_schema(staged_file).remove_metadata()])
    table = open_table(pipeline.name) or _create(pipeline, schema)
    if set(schema.names) - {field.name for field in table.schema().fields}:
        with table.update_schema() as update:
            update.union_by_name(schema)
        table = table.refresh()
    return table


def _create(pipeline: Pipeline, schema: pa.Schema) -> Table:
    catalog = open_catalog()
    name = (NAMESPACE, pipeline.name)
    with suppress(NamespaceAlreadyExistsError):
        catalog.create_namespace(NAMESPACE)
    with (
        suppress(TableAlreadyExistsError, CommitFailedException),  # another run has made it a moment ago
        catalog.create_table_transaction(name, schema, properties=PROPERTIES) as creation,
        creation.update_spec() as spec,
    ):
        spec.add_identity(pipeline.date)
    return catalog.load_table(name)
