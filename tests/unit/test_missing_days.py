from datetime import UTC, datetime, timedelta

import pytest

from include.ledger import nights, open_ledger
from include.ledger.tables import now
from include.missing_days import missing_days, note_failure

NIGHT = datetime(2020, 2, 3, 12, 0, tzinfo=UTC)  # by then 2020-02-02 is due


@pytest.fixture
def over(rides):
    """The pipeline, after the end of its schedule: no night is awaited."""
    return rides.model_copy(update={"schedule": rides.schedule.model_copy(update={"end": rides.schedule.start})})


def fail(days=("2020-02-01", "2020-02-02"), run="manual__1", task="land", error="no such file"):
    note_failure("rides", run, task, days, error)


def come_in(day, run_key="another", **changes):
    fields = {"status": "published", "rows": 1, "quarantined": 0, "report": "", "note": "", **changes}
    with open_ledger() as session:
        nights.record_partition(session, "rides", day, run_key=run_key, **fields)


def missing(pipeline, moment=None):
    with open_ledger() as session:
        return missing_days(session, pipeline, moment or now())


def test_a_failed_ingest_is_told_with_its_days_its_error_and_what_to_do(over):
    fail()

    (told,) = missing(over)

    assert told.days == "2020-02-01 to 2020-02-02"
    assert told.why.startswith("`land` failed (20")
    assert told.why.endswith(" UTC): no such file")
    assert told.remedy.endswith("clear `land` of run manual__1 of rides__ingest.")


def test_a_run_that_fails_again_is_told_once_by_its_last_error(over):
    fail()
    fail(task="clean", error="no space")

    assert [told.why.split(" UTC): ")[1] for told in missing(over)] == ["no space"]


@pytest.mark.parametrize(
    ("day", "is_told"), [("2020-01-31", True), ("2020-02-01", False), ("2020-02-02", False), ("2020-02-03", True)]
)
def test_it_is_told_until_one_of_its_days_has_come_in_since(over, day, is_told):
    fail()

    come_in(day)

    assert bool(missing(over)) is is_told


def test_days_that_were_in_before_do_not_hide_that_their_new_delivery_failed(over):
    come_in("2020-02-01")

    fail()

    assert missing(over)


def test_a_run_that_has_refused_its_days_itself_is_not_told_twice(over):
    come_in("2020-02-01", run_key="manual__1", status="refused")

    fail(task="refuse")

    assert missing(over) == []


def test_a_failure_that_nobody_mends_is_forgotten_after_a_week(over):
    fail()

    assert missing(over, now() + timedelta(days=6.9))
    assert not missing(over, now() + timedelta(days=7.1))


def test_other_pipelines_failures_are_not_ours(over):
    note_failure("cabs", "run", "land", ("2020-02-01", "2020-02-01"), "no such file")

    assert missing(over) == []


def test_the_night_that_is_due_is_awaited_once_anything_is_in(rides):
    assert missing(rides, NIGHT) == []

    come_in("2020-02-01")

    (awaited,) = missing(rides, NIGHT)
    assert awaited.days == "2020-02-02"
    assert awaited.why.startswith("awaited since 2020-02-03 ")
    assert "rides__ingest" in awaited.remedy
    come_in("2020-02-02", status="refused")
    assert missing(rides, NIGHT) == []


def test_a_night_whose_ingest_failed_is_not_awaited_as_well(rides):
    come_in("2020-02-01")
    due = missing(rides)[0].days

    fail(days=(due, due))

    assert [told.why.split(" (")[0] for told in missing(rides)] == ["`land` failed"]
