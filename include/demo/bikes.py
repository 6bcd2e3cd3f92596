"""This file deals out the bike rentals of 2011 as a city would deliver them: events and labels, a CSV a day."""

from datetime import date, timedelta
from importlib.util import find_spec
from pathlib import Path

import pandas as pd

FIRST = date(2011, 1, 1)
EVENTS = [
    "hour_id", "ride_date", "hr", "holiday", "workingday", "weekday", "weathersit", "temp", "atemp", "hum", "windspeed",
]  # fmt: skip
LABELS = ["hour_id", "bikers"]


def seed(data: Path) -> int:
    """Lay the year out in the landing zone of `bike_demand` and return the number of days.

    Source: `Bikeshare.csv` of the PyPI package `ISLP` (Capital Bikeshare, Washington DC; Fanaee-T and Gama 2013). It is
    read without importing the package, which imports much else. Temperatures and wind are scaled to 0 to 1 there.
    """
    spec = find_spec("ISLP")
    if spec is None or spec.origin is None:
        raise FileNotFoundError("The package ISLP, which holds the bike rentals, is not installed: run `make setup`.")
    rows = pd.read_csv(Path(spec.origin).parent / "data" / "Bikeshare.csv")
    rows["ride_date"] = [(FIRST + timedelta(days=day - 1)).isoformat() for day in rows["day"]]
    rows["hour_id"] = rows["ride_date"] + "-" + rows["hr"].astype(str).str.zfill(2)
    landing = data / "landing" / "bike_demand"
    for kind, columns in (("labels", LABELS), ("events", EVENTS)):
        (landing / kind).mkdir(parents=True, exist_ok=True)
        for day, part in rows.groupby("ride_date"):
            part[columns].to_csv(landing / kind / f"{day}.csv", index=False)
    return rows["ride_date"].nunique()
