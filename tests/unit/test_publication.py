import json
from pathlib import Path

import pytest

from include import lake, publication
from include.ledger import Publication, nights, open_ledger

GOOD, BAD = "2020-01-01", "2020-01-02"


@pytest.fixture
def staged(tmp_path):
    days = {
        GOOD: {"rows": 7, "labelled": 6, "quarantined": 1, "files": ["a"]},
        BAD: {"rows": 2, "labelled": 0, "quarantined": 0, "files": ["b"]},
    }
    uri = tmp_path / "staged.json"
    uri.write_text(json.dumps({"folder": "/lake/rides/staged/run-1-abc", "days": days, "rules": {}}))
    return str(uri)


@pytest.fixture(autouse=True)
def published(monkeypatch):
    """The days the lake was asked to publish, call by call."""
    calls = []

    def publish(_pipeline, _staged_uri, days):
        calls.append(days)
        return "77", 7

    monkeypatch.setattr(lake, "publish", publish)
    monkeypatch.setattr(lake, "days_from", lambda _name, _folder, days: set(days))
    monkeypatch.setattr(lake, "current_snapshot", lambda _name: "77")
    return calls


def verdict(*passed: str) -> dict:
    refused = {day: "too few rows" for day in (GOOD, BAD) if day not in passed}
    return {"passed": list(passed), "refused": refused, "reports": {day: f"{day}.html" for day in (GOOD, BAD)}}


def days_known() -> dict:
    with open_ledger() as session:
        return {row.day: row for row in nights.partitions_of(session, "rides")}


def test_what_passed_is_published_and_what_was_refused_is_written_down(rides, staged, published):
    publication_id = publication.publish(rides, staged, verdict(GOOD), "run-1")

    assert published == [[GOOD]]
    assert publication_id == "rides.run-1-abc"
    known = days_known()
    assert (known[GOOD].status, known[GOOD].rows, known[GOOD].labelled) == ("published", 7, 6)
    assert (known[BAD].status, known[BAD].note, known[BAD].report) == ("refused", "too few rows", f"{BAD}.html")
    with open_ledger() as session:
        entered = session.get_one(Publication, publication_id)
    assert (entered.days, entered.rows, entered.snapshot_id, entered.status) == ([GOOD], 7, "77", "open")


def test_where_nothing_passed_nothing_is_published_or_announced(rides, staged, published):
    assert publication.publish(rides, staged, verdict(), "run-1") is None

    assert published == []
    assert {row.status for row in days_known().values()} == {"refused"}
    with open_ledger() as session:
        assert nights.waiting_publications(session, "rides", older_than_seconds=0) == []


def test_publishing_again_in_the_same_run_announces_nothing_new(rides, staged):
    first = publication.publish(rides, staged, verdict(GOOD), "run-1")
    with open_ledger() as session:
        nights.finish_publication(session, first)

    assert publication.publish(rides, staged, verdict(GOOD), "run-1") == first

    assert days_known()[GOOD].redeliveries == 0
    with open_ledger() as session:
        assert nights.waiting_publications(session, "rides", older_than_seconds=0) == []


def test_a_day_another_run_publishes_counts_as_delivered_again(rides, staged):
    publication.publish(rides, staged, verdict(), "run-1")
    publication.publish(rides, staged, verdict(GOOD), "run-2")

    assert (days_known()[GOOD].status, days_known()[GOOD].redeliveries) == ("published", 1)


def test_an_older_run_cleared_later_does_not_take_back_what_a_newer_one_delivered(rides, staged, published, tmp_path):
    publication.publish(rides, staged, verdict(GOOD), "run-1")
    newer = tmp_path / "newer.json"
    newer.write_text(Path(staged).read_text().replace("run-1-abc", "run-2-def").replace('"rows": 7', '"rows": 9'))
    publication.publish(rides, str(newer), verdict(GOOD), "run-2")

    assert publication.publish(rides, staged, verdict(GOOD), "run-1") == "rides.run-1-abc"

    assert (days_known()[GOOD].rows, days_known()[GOOD].run_key) == (9, "run-2")
    assert len(published) == 2


def test_days_announced_again_are_those_that_are_published(rides, staged):
    publication.publish(rides, staged, verdict(GOOD), "run-1")

    publication_id = publication.announce_again(rides, [GOOD, BAD], "by-hand")

    with open_ledger() as session:
        assert session.get_one(Publication, publication_id).days == [GOOD]


def test_days_nobody_published_cannot_be_announced_again(rides):
    with pytest.raises(ValueError, match="ingest them first"):
        publication.announce_again(rides, [GOOD, BAD], "by-hand")
