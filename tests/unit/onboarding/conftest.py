"""Deliveries of a shop: orders by day, as text, the way `ingestion.reading.read` gives them."""

from collections.abc import Callable
from datetime import date, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from include.ingestion.delivered import Delivered
from include.ingestion.reading import read
from include.onboarding.guess import Asked, Guess, Seen, guess
from include.onboarding.profile import Profile, profile

DAYS = [(date(2024, 3, 1) + timedelta(days=number)).isoformat() for number in range(10)]
ROWS = 40


def orders(day: str) -> dict[str, list[Any]]:
    random = np.random.default_rng(DAYS.index(day))
    amounts = random.integers(1, 500, ROWS)
    paid = random.random(ROWS) < 0.7
    return {
        "order_id": [f"{day}-{number}" for number in range(ROWS)],
        "number": list(range(ROWS)),
        "bought_on": [day] * ROWS,
        "bought_at": [f"{day} {number % 24:02}:15:00" for number in range(ROWS)],
        "amount": [f"{amount}.50" for amount in amounts],
        "pieces": [str(amount % 40) for amount in amounts],
        "temperature": ["NA" if number % 10 == 0 else str(number - 20) for number in range(ROWS)],
        "zip": [f"0{amount:04}" for amount in amounts % 30],
        "channel": [("web", "shop", "phone")[amount % 3] for amount in amounts],
        "comment": [f"said {amount} {number} {day}" for number, amount in enumerate(amounts)],
        "country": ["DE"] * ROWS,
        "Is gift?": [("true", "false")[number % 2] for number in range(ROWS)],
        "paid": [("yes", "no")[int(not each)] for each in paid],
        "paid_flag": [("Y", "N")[int(not each)] for each in paid],
        "stars": [str(amount % 5 + 1) for amount in amounts],
        "net": [f"{amount + amount % 40}" for amount in amounts],
    }


def as_delivery(day: str, columns: dict[str, list[Any]]) -> pa.Table:
    rows = zip(*columns.values(), strict=True)
    text = "\n".join(
        [",".join(columns), *(",".join("" if value is None else str(value) for value in row) for row in rows)]
    )
    return read(Delivered(f"{day}.csv", ".csv", text.encode()), day, f"{day}.csv", ())


def profile_of(columns_by_day: dict[str, dict[str, list[Any]]]) -> Profile:
    return profile({day: as_delivery(day, columns) for day, columns in columns_by_day.items()}, list(columns_by_day))


@pytest.fixture(scope="session")
def deliveries() -> dict[str, pa.Table]:
    return {day: as_delivery(day, orders(day)) for day in DAYS}


@pytest.fixture(scope="session")
def shop(deliveries: dict[str, pa.Table]) -> Profile:
    return profile(deliveries, DAYS)


@pytest.fixture(scope="session")
def guess_for(shop: Profile) -> Callable[..., Guess]:
    def make(target: str, leaks: dict[str, str] | None = None, **asked: Any) -> Guess:
        wanted = Asked(**{"name": "shop", "target": target, "events": "o/{date}.csv", **asked})
        return guess(wanted, Seen(shop, None, None, leaks or {}))

    return make
