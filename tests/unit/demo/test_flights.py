import csv
import os
import shutil

import pandas as pd
import pytest

from include.demo import flights
from include.demo.flights import EVENTS, LABELS, Deliveries, ruin, soil

DELIVERED, HELD_BACK = "2013-01-01", "2013-01-02"


@pytest.fixture
def source(tmp_path, monkeypatch):
    """Two days of 100 flights, as the package has them."""
    folder = tmp_path / "package"
    folder.mkdir()
    rows = [
        {
            "year": 2013, "month": 1, "day": day, "sched_dep_time": 500 + number, "carrier": "UA", "flight": number,
            "tailnum": "N1", "origin": "EWR", "dest": "IAH", "distance": 1400, "arr_delay": 5.0, "dep_delay": 2.0,
            "time_hour": f"2013-01-0{day}T10:00:00Z",
        }
        for day in (1, 2)
        for number in range(100)
    ]  # fmt: skip
    pd.DataFrame(rows).to_csv(folder / "flights.csv.zip", index=False)
    for name in ("weather", "planes", "airports"):
        (folder / f"{name}.csv").write_text("a,b\n")
    monkeypatch.setattr(flights, "_package_data", lambda: folder)


@pytest.fixture
def deliveries(source, tmp_path):
    found = Deliveries(tmp_path / "data")
    assert found.seed(delivered_until=DELIVERED) == 2
    return found


def header(file) -> list[str]:
    with file.open(newline="") as lines:
        return next(csv.reader(lines))


@pytest.fixture
def day(deliveries) -> pd.DataFrame:
    return pd.read_csv(deliveries.events_file(HELD_BACK), dtype=str, keep_default_na=False)


def test_days_lie_in_the_landing_zone_or_are_held_back(deliveries):
    for root, name in ((deliveries.landing, DELIVERED), (deliveries.held_back, HELD_BACK)):
        assert [path.name for path in (root / "events").iterdir()] == [f"{name}.csv"]
        assert header(root / "events" / f"{name}.csv") == EVENTS
        assert header(root / "labels" / f"{name}.csv") == LABELS
    assert {path.stem for path in (deliveries.landing / "reference").iterdir()} == {"weather", "planes", "airports"}


def test_a_flight_is_named_by_its_hour_carrier_and_number(day):
    assert day["flight_id"].iloc[7] == "20130102T10-UA7"
    assert day["flight_id"].is_unique
    assert "arr_delay" not in EVENTS, "what is to be predicted is not known in the morning"


def test_labels_arrive_first_and_every_file_at_once(deliveries, monkeypatch):
    moved = []

    def replace(source, target):
        moved.append((source.parent.name, source.suffix, source.stat().st_size > 0, target.exists()))
        shutil.move(source, target)

    monkeypatch.setattr(os, "replace", replace)

    deliveries.deliver(HELD_BACK)

    assert moved == [("labels", ".arriving", True, False), ("events", ".arriving", True, False)]
    landed = deliveries.landing / "events" / f"{HELD_BACK}.csv"
    assert landed.read_bytes() == (deliveries.held_back / "events" / f"{HELD_BACK}.csv").read_bytes()


def test_damage_is_done_to_the_events_alone_and_a_redelivery_mends_it(deliveries):
    events, labels = (deliveries.landing / kind / f"{HELD_BACK}.csv" for kind in ("events", "labels"))

    deliveries.deliver(HELD_BACK, ruin)
    assert len(pd.read_csv(events)) == 60
    assert len(pd.read_csv(labels)) == 100
    deliveries.deliver(HELD_BACK)

    assert len(pd.read_csv(events)) == 100


def test_a_soiled_delivery_has_twelve_rows_twice_and_three_bad_ones(day):
    before = day.copy()

    soiled = soil(day)

    assert day.equals(before)
    assert soiled["flight_id"].duplicated().sum() == 12
    assert soiled["distance"].iloc[3] == "-1400"
    assert soiled["sched_dep_time"].iloc[7] == "noon"
    assert soiled["origin"].iloc[11] == "LHR"
    assert (soiled.iloc[:100] != day).sum().sum() == 3


def test_a_ruined_delivery_breaks_off_early(day):
    assert ruin(day).equals(day.iloc[:60])
