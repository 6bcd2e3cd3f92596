"""A small history of rides with something to learn in it, behind a stand-in for the lake."""

from collections.abc import Callable, Iterator
from datetime import date, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from include.learning.kinds import labels_of
from include.learning.task import LABEL
from include.recipe import Features, Training
from include.training.data import Window, window_of
from include.training.spec import Spec

FEATURES = Features(numeric=["distance", "humidity", "never_there"], categorical=["carrier", "dest"])
TRAINING = Training(
    target="late",
    features=FEATURES,
    min_rows=50,
    epochs=3,
    batch_size=128,
    learning_rate=0.02,
    hidden=[16],
    embedding_dim=4,
    refit=False,  # a test of its own (test_training_tasks.py): each export takes seconds
)


def day(offset: int) -> str:
    return (date(2020, 1, 1) + timedelta(days=offset)).isoformat()


@pytest.fixture(scope="session")
def rows() -> pa.Table:
    """Twenty days of 100 rows with gaps in every column; `never_there` is empty throughout."""
    random = np.random.default_rng(0)
    size = 2000
    distance = random.normal(1000, 5, size)
    carrier = random.choice(["AA", "B6", "UA"], size)
    score = (distance - 1000) / 5 + (carrier == "AA") + random.standard_normal(size)
    late = pa.array(score > 1, mask=random.random(size) < 0.05)
    gaps = random.random(size) < 0.1
    return pa.table(
        {
            "ride_id": [f"r{number:05}" for number in range(size)],
            "day": [day(number // 100) for number in range(size)],
            "distance": pa.array(distance, mask=gaps),
            "humidity": pa.array(random.integers(0, 100, size), mask=random.random(size) < 0.1),
            "never_there": pa.nulls(size, pa.float64()),
            "carrier": pa.array(carrier, mask=gaps),
            "dest": random.choice(["ATL", "BOS", ""], size),
            "late": late,
        }
    )


@pytest.fixture
def lake_of(monkeypatch: pytest.MonkeyPatch) -> Callable[[pa.Table], None]:
    """Let the lake hold a table."""

    def install(table: pa.Table) -> None:
        def clean_days(
            _name: str, first: str, last: str, columns: list[str], _snapshot: Any = None
        ) -> Iterator[tuple[str, pa.Table]]:
            for day in sorted({*table["day"].to_pylist()}):
                if first <= str(day) <= last:
                    yield str(day), table.filter(pc.equal(table["day"], day)).sort_by(columns[0]).select(columns)

        def read_clean(_name: str, first: str, last: str, columns: list[str], _snapshot: Any = None) -> pa.Table:
            inside = pc.and_(pc.greater_equal(table["day"], first), pc.less_equal(table["day"], last))
            return table.filter(inside).select(columns)

        monkeypatch.setattr("include.lake.clean_days", clean_days)
        monkeypatch.setattr("include.lake.read_clean", read_clean)
        monkeypatch.setattr("include.lake.current_snapshot", lambda _name: "77")

    return install


@pytest.fixture(scope="session")
def split() -> Callable[[pa.Table, Spec], tuple[Window, Window]]:
    """Return a function that gives a spec's training window and its hold-out, in memory."""

    def windows(table: pa.Table, spec: Spec) -> tuple[Window, Window]:
        table = table.append_column(LABEL, labels_of(table, spec.training.task, spec.training.target))
        table = table.filter(pc.is_valid(table[LABEL]))
        days = pc.cast(table["day"], pa.string())
        ranges = (spec.train_days, spec.holdout_days)
        inside = [pc.and_(pc.greater_equal(days, first), pc.less_equal(days, last)) for first, last in ranges]
        train, holdout = (window_of(table.filter(rows), spec) for rows in inside)
        return train, holdout

    return windows


@pytest.fixture(scope="session")
def make_spec(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Spec]:
    """Return a spec that learns from the first 16 days and holds out the last 4."""

    def make(**changes: Any) -> Spec:
        asked: dict[str, Any] = {
            "pipeline": "rides",
            "request_id": "rides.first.one",
            "reason": "a test",
            "key": "ride_id",
            "date": "day",
            "snapshot_id": "77",
            "train_days": (day(0), day(15)),
            "holdout_days": (day(16), day(19)),
            "training": TRAINING,
            "sample_rows": 200,
            "folder": tmp_path_factory.mktemp("models") / "rides.first.one",
        }
        return Spec(**asked | changes)

    return make


@pytest.fixture(autouse=True)
def _nobody_tracks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Making MLflow's database takes longer than these trainings do."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")
