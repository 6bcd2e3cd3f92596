"""This file opens the ledger: SQLite in WAL mode on a laptop, any SQLAlchemy URL elsewhere."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, create_engine, event
from sqlalchemy.orm import Session

from include.ledger.tables import Base
from include.settings import load_settings


@contextmanager
def open_ledger(url: str | None = None) -> Iterator[Session]:
    """Open a transaction on the ledger; commit at the end, roll back on an error."""
    with Session(_engine(url or load_settings().ledger_url), expire_on_commit=False) as session, session.begin():
        yield session


@cache
def _engine(url: str) -> Engine:
    engine = create_engine(url)
    if engine.dialect.name == "sqlite":
        if engine.url.database:
            Path(engine.url.database).parent.mkdir(parents=True, exist_ok=True)
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))
    Base.metadata.create_all(engine)
    return engine


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    # The driver's own BEGIN is lazy: two readers that both go on to write would dead-lock. We begin IMMEDIATE instead.
    connection.isolation_level = None
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA busy_timeout=30000")
