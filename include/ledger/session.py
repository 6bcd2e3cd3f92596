"""This file opens the ledger, SQLite on a laptop or PostgreSQL by URL: one transaction at a time, on either."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, NullPool, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.orm import Session
from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_random

from include.errors import SchemaError
from include.ledger.schema import bring_up_to_date
from include.settings import load_settings

# Any number will do, as long as every version of Evergreen uses this one.
LOCK = 0x65766572
WAIT_SECONDS = 30


@contextmanager
def open_ledger(url: str | None = None) -> Iterator[Session]:
    """Open a transaction on the ledger; commit at the end, roll back on an error.

    Transactions wait for each other: what is read in one stays true until it ends
    (docs/decisions/0009-one-ledger-transaction-at-a-time.md).

    :raises SchemaError: if the database is neither SQLite nor PostgreSQL, or was written by a newer Evergreen.
    """
    with Session(_engine(url or load_settings().ledger_url), expire_on_commit=False) as session, session.begin():
        yield session


@cache
def _engine(url: str) -> Engine:
    engine = connect(url)
    bring_up_to_date(engine)
    return engine


def connect(url: str) -> Engine:
    """Return an engine whose transactions run one at a time; the schema is taken as it is.

    :raises SchemaError: if the database is neither SQLite nor PostgreSQL.
    """
    dialect = _dialect(url)
    if dialect == "sqlite":
        engine = create_engine(url)
        if engine.url.database:
            Path(engine.url.database).parent.mkdir(parents=True, exist_ok=True)
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))
        return engine
    # A statement must see what was committed while it waited for the lock, whatever the server's default is. Tasks are
    # short processes forked from warm ones: a pool would save them nothing and could be shared by mistake.
    engine = create_engine(url, isolation_level="READ COMMITTED", poolclass=NullPool)
    event.listen(engine, "begin", _enter_postgresql)
    return engine


def _dialect(url: str) -> str:
    try:
        dialect = make_url(url).get_backend_name()
    except ArgumentError:
        dialect = "nothing"
    if dialect not in {"sqlite", "postgresql"}:
        raise SchemaError(
            f"EVERGREEN_LEDGER_URL names a database of kind '{dialect}'. The ledger works on sqlite:///… and "
            "postgresql+psycopg://user:password@host/database."
        )
    return dialect


def _enter_postgresql(connection: Connection) -> None:
    # A client that vanishes in the middle of a transaction must not hold up the others for long.
    connection.exec_driver_sql(
        f"SET LOCAL lock_timeout = {1000 * WAIT_SECONDS:.0f}; SET LOCAL idle_in_transaction_session_timeout = '60s'; "
        f"SELECT pg_advisory_xact_lock({LOCK})"
    )


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    # The driver's own BEGIN is lazy: two readers that both go on to write would dead-lock. We begin IMMEDIATE instead.
    connection.isolation_level = None
    connection.execute(f"PRAGMA busy_timeout={1000 * WAIT_SECONDS:.0f}")
    _keep_a_write_ahead_log(connection)


@retry(
    retry=retry_if_exception_type(sqlite3.OperationalError),
    stop=stop_after_delay(WAIT_SECONDS),
    wait=wait_random(0.01, 0.1),
    reraise=True,
)
def _keep_a_write_ahead_log(connection: Any) -> None:
    # Only the very first connection changes the mode, and SQLite lets that one fail where it has to wait for another.
    if connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
        connection.execute("PRAGMA journal_mode=WAL")
