"""This file says how the ledger's values are stored, so that SQLite and PostgreSQL hand back what was put in."""

import json
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import JSON, DateTime, Dialect, String, Text
from sqlalchemy.types import TypeDecorator


class Moment(TypeDecorator[datetime]):
    """A moment in UTC: SQLite would hand it back without its time zone, PostgreSQL in the session's."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """Store in UTC."""
        return value and value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """Hand back in UTC."""
        return value and (value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC))


class Words(TypeDecorator[str]):
    """A text. PostgreSQL has no NUL character: a note that quotes a broken delivery must not break the ledger."""

    impl = String
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:  # noqa: ARG002
        """Put the replacement character where a NUL was."""
        return value and value.replace("\x00", "\N{REPLACEMENT CHARACTER}")


class _JsonText(TypeDecorator[Any]):
    """JSON as Python writes it: PostgreSQL's own type refuses the NaN of an AUC that could not be measured."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> str:  # noqa: ARG002
        """Write JSON."""
        return json.dumps(value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> Any:  # noqa: ARG002
        """Read JSON."""
        return value and json.loads(value)


JSON_VALUE = JSON().with_variant(_JsonText(), "postgresql")
