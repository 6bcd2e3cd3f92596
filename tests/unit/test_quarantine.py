import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from include.cli import app
from include.errors import ConfigError
from include.ledger import nights, open_ledger

DAY = "2020-01-01"


def listed(*options):
    result = CliRunner().invoke(app, ["quarantine", "list", "rides", *options])
    if isinstance(result.exception, ConfigError):
        raise result.exception
    return result.output


@pytest.fixture
def in_quarantine(rides, settings):
    """One day with two rows that broke one rule each."""
    with open_ledger() as session:
        nights.record_partition(
            session, "rides", DAY, status="published", rows=9, quarantined=2, run_key="one", report=""
        )
    rows = [
        {"source_kind": "events", "source_file": "a.csv", "source_row": n, "rules": ["far"], "row": json.dumps({})}
        for n in (2, 3)
    ]
    path = settings.lake / "rides" / "quarantine" / "run=one" / f"day={DAY}" / "part.parquet"
    path.parent.mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist(rows), path)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--day", "2020-01-02"), "Nothing of 2020-01-02 is in quarantine."),
        (("--rule", "fra"), "Nothing by the rule 'fra' is in quarantine."),
        (("--day", DAY, "--rule", "fra"), f"Nothing of {DAY} by the rule 'fra' is in quarantine."),
    ],
)
def test_a_day_or_rule_without_rows_is_answered_with_what_there_is(in_quarantine, options, said):
    guess = " Did you mean 'far'?" if "fra" in options else ""

    assert listed(*options) == f"{said} There are 2 rows: of {DAY}; by the rules 'far' (2).{guess}\n"


def test_a_day_with_rows_is_listed(in_quarantine):
    assert "a.csv row 2" in listed("--day", DAY)


def test_where_nothing_is_in_quarantine_that_is_said(rides):
    assert listed("--day", DAY) == "Nothing is in quarantine.\n"


def test_what_is_no_day_is_refused(in_quarantine):
    with pytest.raises(ConfigError, match=r"--day '14\.07\.2013' is no day: expected is YYYY-MM-DD"):
        listed("--day", "14.07.2013")
