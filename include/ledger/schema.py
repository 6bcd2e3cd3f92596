"""This file brings a ledger's schema up to what this code expects, by the migrations beside it."""

import logging
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, Engine, inspect, text

from include.errors import SchemaError

if TYPE_CHECKING:
    from alembic.config import Config

log = logging.getLogger(__name__)

MIGRATIONS = Path(__file__).parent / "migrations"
VERSION_TABLE = "alembic_version"
# Alembic's environment is a global of the process.
_one_at_a_time = threading.Lock()


def revisions() -> list[str]:
    """Return the schema's revisions, oldest first; a migration's file name begins with its revision."""
    return sorted(path.name[:4] for path in (MIGRATIONS / "versions").glob("[0-9]*.py"))


def bring_up_to_date(engine: Engine) -> None:
    """Run the migrations that a ledger still lacks, in one transaction: the engine's lock lets one process do it.

    :raises SchemaError: if the ledger was written by a newer Evergreen.
    """
    known = revisions()
    with engine.begin() as connection:
        found = current_revision(connection)
        if found == known[-1]:
            return
        if found is not None and found not in known:
            raise SchemaError(
                f"The ledger {engine.url} has schema {found}, and this version of Evergreen knows {known[0]} to "
                f"{known[-1]}: a newer one has written it. Update the code, or restore a backup made before the update."
            )
        migrate(connection)
        log.info("The ledger's schema went from %s to %s", found or "nothing", known[-1])


def current_revision(connection: Connection) -> str | None:
    """Return the revision that a database is at; None if it has never seen a migration."""
    if not inspect(connection).has_table(VERSION_TABLE):
        return None
    found: str | None = connection.scalar(text(f"SELECT version_num FROM {VERSION_TABLE}"))  # noqa: S608 - a constant
    return found


def migrate(connection: Connection, to: str = "head") -> None:
    """Run migrations inside the transaction of a connection; tables made before there were any are adopted."""
    from alembic import command  # 0.2 s, and hardly ever wanted

    config = alembic_config(connection)
    with _one_at_a_time:
        if current_revision(connection) is None and inspect(connection).has_table("releases"):
            command.stamp(config, revisions()[0])
        command.upgrade(config, to)


def alembic_config(connection: Connection) -> "Config":
    """Return what Alembic wants to know; `migrations/env.py` finds the connection in it."""
    from alembic.config import Config

    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.set_main_option("file_template", "%%(rev)s_%%(slug)s")
    return config
