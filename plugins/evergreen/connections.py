"""This file turns the Airflow connections that a pipeline's sources name into URLs as SQLAlchemy reads them."""

import json

from airflow.sdk import Connection

from include.pipeline import Pipeline

# Airflow's names of kinds of database that SQLAlchemy calls otherwise; any other kind is a dialect's own name, which
# may hold the driver: `postgresql+psycopg`.
DIALECTS = {"postgres": "postgresql"}


def connection_urls(pipeline: Pipeline) -> dict[str, str]:
    """Return the URL of each connection by its id; for a task."""
    return {name: url_of(Connection.get(name)) for name in sorted(pipeline.source.connections)}


async def connection_urls_soon(pipeline: Pipeline) -> dict[str, str]:
    """Return the URL of each connection by its id; for a trigger, whose loop must not wait."""
    return {name: url_of(await Connection.async_get(name)) for name in sorted(pipeline.source.connections)}


def url_of(connection: Connection) -> str:
    """Return a connection's URL; it holds the password, so it belongs in no log."""
    from sqlalchemy import URL

    # Airflow keeps the path of an SQLite file as its host; a URL of one has it as the database.
    kind = str(connection.conn_type)
    database = connection.schema or (connection.host if kind == "sqlite" else None)
    extra = json.loads(connection.extra) if connection.extra else {}
    url = URL.create(
        DIALECTS.get(kind, kind),
        username=connection.login or ("" if connection.password else None),  # a password alone is a token
        password=connection.password or None,
        host=None if kind == "sqlite" else connection.host or None,
        port=connection.port,
        database=database,
        query={name: str(value) for name, value in extra.items() if isinstance(value, str | int | float)},
    )
    return url.render_as_string(hide_password=False)
