"""This file takes a day's rows out of a database that SQLAlchemy can talk to."""

from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from sqlalchemy import Column, Connection, Executable, MetaData, Table, create_engine, select, text, types
from sqlalchemy.exc import DBAPIError, NoSuchModuleError, NoSuchTableError, OperationalError
from sqlalchemy.pool import NullPool

from include.errors import BadDeliveryError, ConfigError, SourceUnavailableError
from include.ingestion.delivered import Delivered, rows_as_file
from include.sources import Sql
from include.spelling import did_you_mean


def where(source: Sql, day: str) -> str:
    """Return how a day's rows are asked for, in words."""
    return f"{source.connection}: {source.table or source.query} of {day}"


def is_delivered(source: Sql, day: str, url: str) -> bool:
    """Return whether the database has any row of the day."""
    with _connected(source, url) as connection:
        return connection.execute(_statement(connection, source, day)).first() is not None


def fetch(source: Sql, day: str, columns: Iterable[str], optional: Collection[str], url: str) -> list[Delivered]:
    """Return a day's rows as JSON lines, none if there are no rows (yet).

    Of a table only the wanted columns are asked for. A database promises no order: the lines are sorted, so that the
    same rows are the same delivery.

    :raises BadDeliveryError: if the database has no such table or column, or refuses the query.
    :raises SourceUnavailableError: if it does not answer.
    """
    with _connected(source, url) as connection:
        rows = connection.execute(_statement(connection, source, day, columns, optional)).mappings().all()
    return [rows_as_file(where(source, day), map(dict, rows), has_order=False)] if rows else []


@contextmanager
def _connected(source: Sql, url: str) -> Iterator[Connection]:
    try:
        engine = create_engine(url, poolclass=NullPool)
    except (NoSuchModuleError, ImportError) as error:
        raise ConfigError(f"The connection '{source.connection}' needs a driver: {error}. Install it.") from error
    try:
        with engine.connect() as connection:
            yield connection
    except NoSuchTableError as error:
        raise BadDeliveryError(f"{source.connection}: has no table '{error}'. Correct 'source' in the YAML.") from error
    except OperationalError as error:
        raise SourceUnavailableError(f"{source.connection}: {error.orig}") from error
    except DBAPIError as error:
        raise BadDeliveryError(
            f"{source.connection}: refused '{source.table or source.query}': {error.orig}"
        ) from error


def _statement(
    connection: Connection, source: Sql, day: str, columns: Iterable[str] = (), optional: Collection[str] = ()
) -> Executable:
    first = date.fromisoformat(day)
    following = first + timedelta(days=1)
    if source.query is not None:
        values = {"day": day, "next_day": following.isoformat()}
        return text(source.query).bindparams(**{name: values[name] for name in values if f":{name}" in source.query})
    schema, _, name = str(source.table).rpartition(".")
    table = Table(name, MetaData(), schema=schema or None, autoload_with=connection)
    of_day = _column(source, table, str(source.date_column))
    wanted = [_column(source, table, each) for each in columns if each in table.columns or each not in optional]
    return select(*(wanted or [of_day])).where(of_day >= _bound(of_day, first), of_day < _bound(of_day, following))


def _column(source: Sql, table: Table, name: str) -> Column[Any]:
    if name not in table.columns:
        found = sorted(table.columns.keys())
        raise BadDeliveryError(
            f"{source.connection}: the table '{source.table}' has no column '{name}', only {found}."
            f"{did_you_mean(name, found)} Correct the YAML."
        )
    return table.columns[name]


def _bound(column: Column[Any], day: date) -> date | str:
    """Return the beginning of a day as the column's own type has it; as text it sorts before all of that day."""
    if isinstance(column.type, types.DateTime):
        return datetime.combine(day, time.min, UTC if column.type.timezone else None)
    return day if isinstance(column.type, types.Date) else day.isoformat()
