from contextlib import nullcontext

import pytest

from include.errors import ConfigError
from include.onboarding import check as checking

DAYS = ["2020-01-01", "2020-01-02", "2020-01-05"]


@pytest.fixture
def check(rides, settings, monkeypatch):
    """Check `rides`, delivered on three days, without asking Spark; return what is to be done, by what was checked."""
    monkeypatch.setattr(checking, "spark_session", nullcontext)
    monkeypatch.setattr(checking, "_expressions", lambda *_: [])
    for folder, text in (("e", "ride_id,day,distance,carrier\n"), ("l", "ride_id,late\n")):
        (settings.data / folder).mkdir(parents=True)
        for day in DAYS:
            (settings.data / folder / f"{day}.csv").write_text(text)

    def check(day=None, **changes):
        pipeline = rides.model_copy(update={"source": rides.source.model_copy(update=changes)})
        return {what: remedy for what, _, remedy in checking.check(pipeline, day) if remedy}

    return check


def test_a_day_that_is_not_there_is_answered_with_the_nearest_that_are(check):
    there = "Days there: 3 between 2020-01-01 and 2020-01-05, nearest: 2020-01-02 and 2020-01-05."

    assert check("2020-01-03")["source.events"] == (
        f"Nothing is delivered for 2020-01-03. {there} Name one of them with --date."
    )
    assert "nearest: 2020-01-05." in check("2020-01-09")["source.labels"]


@pytest.mark.parametrize("day", ["foo", "2020-1-3", "2020-02-30", ""])
def test_what_is_no_day_is_refused(check, day):
    with pytest.raises(ConfigError, match=f"--date '{day}' is no day: expected is YYYY-MM-DD"):
        check(day)


def test_where_nothing_is_there_at_all_the_source_is_to_be_corrected(check, rides):
    events = rides.source.events.model_copy(update={"path": "elsewhere/{date}.csv"})

    assert check("2020-01-03", events=events)["source.events"].endswith(
        "Nothing is there for any day: correct 'source.events'."
    )


def test_a_day_without_its_marker_is_answered_with_the_marker(check, rides):
    events = rides.source.events.model_copy(update={"marker": "e/{date}.done"})

    assert "not 'e/{date}.done': deliver that" in check(DAYS[0], events=events)["source.events"]
