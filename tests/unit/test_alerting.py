from datetime import UTC, datetime, timedelta

import pytest

from include import alerting
from include.alerting import Facts
from include.config import load_pipeline
from include.ledger import Partition, Release, Request, Window, alerts, open_ledger, requests

NOW = datetime(2026, 3, 10, 12, 0, tzinfo=UTC)


@pytest.fixture
def find(rides):
    def find(moment=NOW, pipeline=rides, **rows) -> list[tuple[str, str]]:
        facts = {"partitions": [published("2026-03-09")], "windows": [], "requests": [], "releases": [], **rows}
        return [(found.kind, found.about) for found in alerting.find(Facts(pipeline, **facts), moment)]

    return find


def published(day: str) -> Partition:
    return Partition(pipeline="rides", day=day, status="published")


def window(share: float | None, at: datetime = NOW, version: int = 3) -> Window:
    return Window(pipeline="rides", day="2026-03-09", version=version, drifted_share=share, at=at)


def request(**fields) -> Request:
    return Request(**{"id": "rides.drift.d", "triggered_by": "drift", "reason": "r", "note": "n", "at": NOW, **fields})


def test_a_quiet_pipeline_has_nothing_to_tell(find):
    assert find(windows=[window(0.1), window(None)], requests=[request(triggered_by="hand", status="done")]) == []


def test_drift_is_told_once_a_version(find):
    assert find(windows=[window(0.6), window(0.7), window(0.9, version=2)]) == [
        ("drift", "rides.v3"),
        ("drift", "rides.v3"),
        ("drift", "rides.v2"),
    ]


@pytest.mark.parametrize(
    ("fields", "kinds"),
    [
        ({"status": "open"}, ["asked"]),
        ({"status": "failed", "closed_at": NOW}, ["asked", "failed"]),
        ({"status": "failed", "closed_at": NOW, "triggered_by": "hand"}, ["failed"]),
        ({"status": "open", "at": NOW - timedelta(days=3)}, []),
        ({"status": "failed", "at": NOW - timedelta(days=3), "closed_at": NOW}, ["failed"]),
    ],
)
def test_a_request_is_told_when_it_is_asked_for_and_when_it_came_to_nothing(find, fields, kinds):
    assert [kind for kind, _ in find(requests=[request(**fields)])] == kinds


@pytest.mark.parametrize(
    ("status", "days_ago", "kinds"),
    [
        ("rejected", 0, ["rejected"]),
        ("failed", 0, ["failed"]),
        ("champion", 0, []),
        ("rejected", 3, []),
        ("rolled_back", 99, ["rolled_back"]),
    ],
)
def test_a_release_is_told_when_it_was_refused_or_taken_back(find, status, days_ago, kinds):
    release = Release(id="rides.v1", status=status, note="n", at=NOW - timedelta(days=days_ago))

    assert [kind for kind, _ in find(releases=[release])] == kinds


@pytest.mark.parametrize(
    ("hour", "days", "late"),
    [(10, ["2026-03-08"], False), (12, ["2026-03-08"], True), (12, ["2026-03-09"], False)],
)
def test_a_night_is_late_hours_after_its_tick(find, hour, days, late):
    moment = NOW.replace(hour=hour)  # the tick is at 05:00, and six hours are allowed

    assert (("late", "rides.2026-03-09") in find(moment, partitions=[published(day) for day in days])) == late


def test_a_refused_night_is_not_late(find):
    assert find(partitions=[Partition(day="2026-03-09", status="refused"), published("2026-03-08")]) == []


def test_a_source_that_has_been_silent_for_days_is_told_of_once_a_newest_day(find):
    assert ("silent", "rides.2026-03-06") in find(partitions=[published("2026-03-06")])
    assert "silent" not in dict(find(partitions=[published("2026-03-07")]))


def test_a_pipeline_that_is_still_being_set_up_is_not_late(find):
    assert find(partitions=[]) == []


def test_a_schedule_that_is_over_or_has_not_begun_is_never_late(find, settings):
    path = settings.pipelines / "rides.yaml"
    text = path.read_text()
    for schedule in ("{start: 2020-01-01, end: 2020-02-01}", "{start: 2027-01-01}"):
        path.write_text(text.replace("{start: 2020-01-01}", schedule))
        assert find(pipeline=load_pipeline("rides"), partitions=[published("2020-01-02")]) == []


def test_what_is_found_again_is_one_alert(rides):
    with open_ledger() as session:
        requests.file_request(session, "rides", reason="r", triggered_by="quality", key="d", detail={})
    for _ in range(2):
        alerting.look([rides])

    with open_ledger() as session:
        waiting = [alert.id for alert in alerts.untold_alerts(session) if alert.kind == "asked"]
    assert waiting == ["asked.rides.quality.d"]
