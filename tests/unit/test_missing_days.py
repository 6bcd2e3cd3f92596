from datetime import UTC, datetime, timedelta

import pytest

from include.ledger import nights, open_ledger
from include.ledger.tables import now
from include.missing_days import in_short, missing_days, note_failure

NIGHT = datetime(2020, 2, 3, 12, 0, tzinfo=UTC)  # by then 2020-02-02 is due
RUN = "manual__1"


@pytest.fixture
def over(rides):
    """The pipeline, after the end of its schedule: no night is awaited."""
    return rides.model_copy(update={"schedule": rides.schedule.model_copy(update={"end": rides.schedule.start})})


def fail(days=("2020-02-01", "2020-02-02"), task="land", error="no such file"):
    return note_failure("rides", RUN, task, days, error, f"rides failed: {error}")


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

    assert (told.state, told.days) == ("failed", "2020-02-01, 2020-02-02")
    assert told.why.startswith("`land` failed (20")
    assert told.why.endswith(" UTC): no such file")
    assert told.remedy.endswith("clear `land` of run manual__1 of rides__ingest.")


def test_a_run_that_fails_again_is_told_once_by_its_last_error(over):
    fail()
    fail(task="clean", error="no space")

    assert [told.why.split(" UTC): ")[1] for told in missing(over)] == ["no space"]


def test_of_a_range_those_days_are_told_that_have_not_come_in_since(over):
    fail(days=("2020-02-01", "2020-02-06"))
    assert missing(over)[0].days == "6 days between 2020-02-01 and 2020-02-06"

    for day in ("2020-01-31", "2020-02-02", "2020-02-04", "2020-02-05"):
        come_in(day)
    assert missing(over)[0].days == "2020-02-01, 2020-02-03, 2020-02-06"

    for day in ("2020-02-01", "2020-02-03", "2020-02-06"):
        come_in(day)
    assert missing(over) == []


@pytest.mark.parametrize("run_key", ["another", RUN])
def test_days_that_were_in_before_do_not_hide_that_their_new_delivery_failed(over, run_key):
    come_in("2020-02-01", run_key)

    fail(days=("2020-02-01", "2020-02-01"))

    assert [told.days for told in missing(over)] == ["2020-02-01"]


def test_that_a_day_expires_does_not_mean_that_it_came_in(over):
    come_in("2020-02-01")
    fail(days=("2020-02-01", "2020-02-01"))

    with open_ledger() as session:
        nights.expire_days(session, "rides", "2020-02-02")

    assert missing(over)


@pytest.mark.parametrize(
    ("days", "task"),
    [
        (("2020-02-01", "2020-02-02"), "refuse"),  # such a day has a row that says so
        (("2020-02-02", "2020-02-01"), "land"),  # slips of a person's, which Airflow's form lets through
        (("next week", "2020-02-01"), "land"),
    ],
)
def test_what_lacks_no_day_is_not_kept(over, days, task):
    assert fail(days, task) is None

    assert missing(over) == []


def test_a_failure_that_nobody_mends_is_forgotten_after_a_week(over):
    fail()

    assert missing(over, now() + timedelta(days=6.9))
    assert not missing(over, now() + timedelta(days=7.1))


def test_other_pipelines_failures_are_not_ours(over):
    note_failure("cabs", "run", "land", ("2020-02-01", "2020-02-01"), "no such file", "cabs failed")

    assert missing(over) == []


def test_nights_that_are_due_are_awaited_once_anything_is_in(rides):
    assert missing(rides, NIGHT) == []

    come_in("2020-01-31")
    (awaited,) = missing(rides, NIGHT)
    assert (awaited.state, awaited.days) == ("awaited", "2020-02-01, 2020-02-02")
    assert awaited.why.startswith("the newest since 2020-02-03 ")
    assert "rides__ingest" in awaited.remedy

    come_in("2020-02-02", status="refused")
    assert [awaited.days for awaited in missing(rides, NIGHT)] == ["2020-02-01"]
    come_in("2020-02-01")
    assert missing(rides, NIGHT) == []


def test_nights_are_awaited_for_a_week(rides):
    come_in("2020-01-01")

    assert missing(rides, NIGHT)[0].days == "7 days between 2020-01-27 and 2020-02-02"


def test_a_night_whose_ingest_failed_is_not_awaited_as_well(rides):
    come_in((now() - timedelta(days=3)).date().isoformat())
    (before,) = missing(rides)

    fail(days=(before.days.split(", ")[0], before.days.split(", ")[-1]))

    assert [told.state for told in missing(rides)] == ["failed"]


@pytest.mark.parametrize(
    ("error", "short"),
    [
        ("no such file", "no such file"),
        ("[UNRESOLVED_ROUTINE] uper\n\nJVM stacktrace:\norg.apache", "[UNRESOLVED_ROUTINE] uper"),
        ("x" * 301, "x" * 300 + " …"),
        ("", "it ended without an error of its own"),
    ],
)
def test_an_error_is_told_in_short(error, short):
    assert in_short(error) == short
