"""This file writes the next migration: what the tables of the code have that the migrations so far do not make."""

import sys

from alembic import command

from include.ledger.schema import alembic_config, migrate, revisions
from include.ledger.session import connect


def write_migration(message: str) -> None:
    """Compare the code's tables with a fresh database at the newest revision, and write the difference down."""
    with connect("sqlite://").begin() as connection:
        if revisions():
            migrate(connection)
        config = alembic_config(connection)
        command.revision(config, message, autogenerate=True, rev_id=f"{len(revisions()) + 1:04}")


if __name__ == "__main__":
    write_migration(" ".join(sys.argv[1:]))
