"""This file is what Alembic runs: it puts the ledger's migrations to the connection it is given."""

from typing import Any, Literal

from alembic import context
from alembic.autogenerate.api import AutogenContext

from include.ledger.columns import JSON_VALUE, Moment, Words
from include.ledger.tables import Base

# A migration must read the same when the code it was made from has changed: it names SQLAlchemy's types alone.
PLAIN = {
    Moment: "sa.DateTime(timezone=True)",
    Words: "sa.String()",
    type(JSON_VALUE): 'sa.JSON().with_variant(sa.Text(), "postgresql")',
}


def render(kind: str, found: Any, _context: AutogenContext) -> str | Literal[False]:
    """Write a column's type without naming Evergreen's own classes."""
    return PLAIN.get(type(found), False) if kind == "type" else False


context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    render_as_batch=True,  # SQLite alters a table by making it anew
    render_item=render,
)
with context.begin_transaction():
    context.run_migrations()
