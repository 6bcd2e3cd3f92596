"""The schema: the migrations make what the code declares, keep what is there, and refuse what they do not know."""

import math
from datetime import UTC, datetime
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import JSON, DateTime, Float, Integer, MetaData, inspect, text

from include.errors import SchemaError
from include.ledger import Decision, Partition, Publication, nights, open_ledger, schema
from include.ledger.columns import Words
from include.ledger.session import connect
from include.ledger.tables import Base


def at_revision(url: str, revision: str) -> None:
    with connect(url).begin() as connection:
        schema.migrate(connection, revision)


def fill(url: str) -> None:
    """Put a row into every table, with a value in every column."""
    values = {Integer: 7, Float: 0.5, DateTime: datetime(2026, 1, 1, tzinfo=UTC), JSON: {}}
    with connect(url).begin() as connection:
        found = MetaData()
        found.reflect(connection)
        for table in found.sorted_tables:
            if table.name != schema.VERSION_TABLE:
                row = {
                    column.name: next((value for kind, value in values.items() if isinstance(column.type, kind)), "{}")
                    for column in table.columns
                }
                connection.execute(table.insert().values(row))


def test_the_migrations_make_the_tables_that_the_code_declares(ledger_url):
    with open_ledger(ledger_url) as session:
        assert compare_metadata(MigrationContext.configure(session.connection()), Base.metadata) == []


def test_a_column_without_a_migration_is_found(ledger_url):
    with open_ledger(ledger_url) as session:
        session.execute(text("ALTER TABLE partitions DROP COLUMN note"))
        (difference,) = compare_metadata(MigrationContext.configure(session.connection()), Base.metadata)
        assert difference[0] == "add_column"
        session.rollback()


def test_revisions_are_numbered_in_one_line_and_their_files_say_which():
    script = ScriptDirectory(str(schema.MIGRATIONS))
    walked = [revision.revision for revision in script.walk_revisions()][::-1]

    assert walked == schema.revisions() == [f"{number:04}" for number in range(1, len(walked) + 1)]
    assert [Path(script.get_revision(each).path).name[:4] for each in walked] == walked


def test_a_ledger_of_the_first_revision_comes_to_the_newest_with_its_rows(ledger_url):
    at_revision(ledger_url, schema.revisions()[0])
    fill(ledger_url)

    with open_ledger(ledger_url) as session:
        assert schema.current_revision(session.connection()) == schema.revisions()[-1]
        assert nights.partitions_of(session, "{}")[0].rows == 7


def test_a_ledger_from_before_there_were_migrations_is_adopted_with_its_rows(ledger_url):
    at_revision(ledger_url, schema.revisions()[0])
    fill(ledger_url)
    with connect(ledger_url).begin() as connection:
        connection.execute(text("DROP TABLE alembic_version"))

    with open_ledger(ledger_url) as session:
        assert schema.current_revision(session.connection()) == schema.revisions()[-1]
        assert nights.partitions_of(session, "{}")[0].rows == 7


def test_a_ledger_that_a_newer_evergreen_has_written_is_refused_and_left_alone(ledger_url):
    at_revision(ledger_url, "head")
    with connect(ledger_url).begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))

    with pytest.raises(SchemaError, match=r"schema 9999, .* knows 0001 to .* Update the code"), open_ledger(ledger_url):
        pass
    with connect(ledger_url).begin() as connection:
        assert schema.current_revision(connection) == "9999"


def test_a_migration_that_fails_leaves_nothing_behind(ledger_url, monkeypatch):
    def fail(connection):
        connection.execute(text("CREATE TABLE half (done INTEGER)"))
        raise RuntimeError("the disk is full")

    with monkeypatch.context() as patched:
        patched.setattr(schema, "migrate", fail)
        with pytest.raises(RuntimeError, match="full"), open_ledger(ledger_url):
            pass

    with open_ledger(ledger_url) as session:
        assert not inspect(session.connection()).has_table("half")


@pytest.mark.parametrize("url", ["mysql://me:secret@host/ledger", "no url at all"])
def test_other_databases_are_refused_without_telling_the_password(url):
    with pytest.raises(SchemaError, match="works on sqlite") as refused, open_ledger(url):
        pass

    assert "secret" not in str(refused.value)


def test_what_is_put_in_comes_out_the_same_on_either_database(ledger_url):
    strange = "Grüße, 'quoted', \N{SNOWMAN} and a NUL: \x00."
    at = datetime(2026, 3, 29, 1, 30, 0, 123456, tzinfo=UTC)
    with open_ledger(ledger_url) as session:
        row = Partition(
            pipeline="p", day="d", status="refused", rows=1, quarantined=0, run_key="r", report="", note=strange, at=at
        )
        session.add(row)
        session.add(Publication(id="n", pipeline="p", days=[strange], rows=1, snapshot_id="1"))
        session.add(
            Decision(
                publication_id="n", pipeline="p", action="nothing", reason="", evidence={"auc": math.nan, "k": [1]}
            )
        )
    with open_ledger(ledger_url) as session:
        evidence = session.get(Decision, "n").evidence
        assert math.isnan(evidence["auc"])
        assert evidence["k"] == [1]
        assert session.get(Publication, "n").days == [strange]
        found = session.get(Partition, ("p", "d"))
        assert (found.note, found.at) == (Words().process_bind_param(strange, None), at)
        assert found.at.tzinfo is UTC
