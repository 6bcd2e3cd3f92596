import json
import shutil
from pathlib import Path

import pytest

from include.config import load_pipeline
from include.ingestion.delivery import is_delivered, land
from include.ingestion.late_labels import days_without_labels, late_labels
from include.ledger import Partition, nights, open_ledger
from include.sources import Arrival

MONDAY, TUESDAY, WEDNESDAY = "2020-01-06", "2020-01-07", "2020-01-08"


def partition(day: str, labelled: int, status: str = "published") -> Partition:
    return Partition(pipeline="rides", day=day, status=status, rows=10, labelled=labelled, run_key="r")


@pytest.fixture
def late_rides(settings):
    """`rides`, whose labels come two days after the events."""
    path = settings.pipelines / "rides.yaml"
    path.write_text(
        path.read_text().replace('labels: {path: "l/{date}.csv"}', 'labels: {path: "l/{date}.csv", delay_days: 2}')
    )
    return load_pipeline("rides")


@pytest.fixture
def deliver(late_rides, delivery_of):
    def write(day: str, kind: str, rows: str) -> None:
        path = delivery_of(late_rides, day)[kind]
        path.parent.mkdir(parents=True, exist_ok=True)
        names = late_rides.cleaning.columns if kind == "events" else late_rides.cleaning.labels
        path.write_text(f"{','.join(names)}\n{rows}")

    return write


@pytest.fixture
def publish(late_rides):
    """Land a night as the operator does, write it down as published, and return what was landed, by day."""

    def night(day: str, labelled: int = 0) -> dict:
        landed = json.loads(
            Path(land(late_rides, [day], f"night-{day}", late=late_labels(late_rides, day))).read_text()
        )
        with open_ledger() as session:
            for each in landed["days"]:
                nights.record_partition(
                    session, "rides", each, status="published", rows=10, labelled=labelled if each != day else 0,
                    quarantined=0, run_key=f"night-{day}", report="",
                )  # fmt: skip
        return landed["days"]

    return night


@pytest.mark.parametrize(
    ("row", "is_looked_at"),
    [
        (partition("2020-01-05", 0), True),
        (partition("2020-01-05", 9), True),
        (partition("2020-01-05", 10), False),
        (partition("2020-01-05", 0, "refused"), False),
        (partition("2020-01-02", 0), True),
        (partition("2020-01-01", 0), False),
        (partition(MONDAY, 0), False),
    ],
)
def test_labels_are_looked_for_as_far_back_as_the_yaml_waits(row, is_looked_at):
    found = days_without_labels([row], MONDAY, Arrival(delay_days=1, wait_days=3))

    assert found == ([row] if is_looked_at else [])


def test_a_night_does_not_wait_for_labels_that_come_later(late_rides, deliver, publish):
    assert not is_delivered(late_rides, MONDAY)
    deliver(MONDAY, "events", "a,2020-01-06,1,AA\n")

    assert is_delivered(late_rides, MONDAY)
    assert publish(MONDAY)[MONDAY]["labels"] == []


def test_the_night_after_labels_came_takes_their_day_in_again_with_the_events_it_was_published_from(
    late_rides, deliver, publish, delivery_of
):
    for day in (MONDAY, TUESDAY, WEDNESDAY):
        deliver(day, "events", f"a,{day},1,AA\n")
    first = publish(MONDAY)
    delivery_of(late_rides, MONDAY)["events"].unlink()
    deliver(MONDAY, "labels", "a,true\n")

    second = publish(TUESDAY, labelled=10)

    assert list(second) == [MONDAY, TUESDAY]
    assert second[MONDAY]["events"] == first[MONDAY]["events"]
    assert len(second[MONDAY]["labels"]) == 1
    assert list(publish(WEDNESDAY)) == [WEDNESDAY]


def test_partial_labels_are_taken_once_and_again_when_there_are_more(late_rides, deliver, publish):
    for day in (MONDAY, TUESDAY, WEDNESDAY, "2020-01-09"):
        deliver(day, "events", f"a,{day},1,AA\n")
    publish(MONDAY)
    deliver(MONDAY, "labels", "a,true\n")
    assert MONDAY in publish(TUESDAY, labelled=4)

    assert MONDAY not in publish(WEDNESDAY, labelled=4)
    deliver(MONDAY, "labels", "a,true\nb,true\n")
    assert MONDAY in publish("2020-01-09", labelled=4)


def test_labels_that_cannot_be_read_are_said_and_do_not_stop_the_night(
    late_rides, deliver, publish, delivery_of, caplog
):
    for day in (MONDAY, TUESDAY):
        deliver(day, "events", f"a,{day},1,AA\n")
    publish(MONDAY)
    path = delivery_of(late_rides, MONDAY)["labels"]
    path.parent.mkdir(parents=True)
    path.write_bytes(b"")

    assert list(publish(TUESDAY)) == [TUESDAY]

    assert f"The labels of {MONDAY} stay out: {path}: is empty" in caplog.text


def test_events_that_were_removed_from_the_raw_zone_are_landed_again(late_rides, deliver, publish):
    for day in (MONDAY, TUESDAY):
        deliver(day, "events", f"a,{day},1,AA\n")
    first = publish(MONDAY)
    shutil.rmtree(Path(first[MONDAY]["events"][0]).parent)
    deliver(MONDAY, "labels", "a,true\n")

    second = publish(TUESDAY)

    assert second[MONDAY]["events"] == first[MONDAY]["events"]
    assert Path(second[MONDAY]["events"][0]).exists()


def test_labels_whose_events_are_gone_everywhere_are_said_and_do_not_stop_the_night(
    late_rides, deliver, publish, delivery_of, caplog
):
    for day in (MONDAY, TUESDAY):
        deliver(day, "events", f"a,{day},1,AA\n")
    landed = Path(publish(MONDAY)[MONDAY]["events"][0])
    shutil.rmtree(landed.parent)
    delivery_of(late_rides, MONDAY)["events"].unlink()
    deliver(MONDAY, "labels", "a,true\n")

    assert list(publish(TUESDAY)) == [TUESDAY]

    assert f"The labels of {MONDAY} stay out: they are here, but not the events" in caplog.text
    assert "Deliver the day's events again" in caplog.text


def test_a_run_that_is_cleared_still_knows_the_events_of_the_days_it_published(
    late_rides, deliver, publish, delivery_of
):
    for day in (MONDAY, TUESDAY, WEDNESDAY):
        deliver(day, "events", f"a,{day},1,AA\n")
    first = publish(MONDAY)
    deliver(MONDAY, "labels", "a,true\n")
    publish(TUESDAY, labelled=4)
    assert list(publish(TUESDAY)) == [TUESDAY]
    delivery_of(late_rides, MONDAY)["events"].unlink()
    deliver(MONDAY, "labels", "a,true\nb,true\n")

    assert publish(WEDNESDAY, labelled=4)[MONDAY]["events"] == first[MONDAY]["events"]


def test_labels_without_a_delay_are_never_late(rides):
    assert late_labels(rides, MONDAY) == {}
