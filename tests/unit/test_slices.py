from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from include.learning.binary import Binary
from include.learning.multiclass import Multiclass
from include.learning.regression import Regression
from include.pipeline import Pipeline
from include.policy import Costs, Gate
from include.slices import SHOWN, values_of, with_columns, worth_of

MANIFEST = {"holdout_days": ["2020-01-21", "2020-01-30"], "snapshot_id": "77"}
POLICY = Gate(min_slice_rows=3)


def holdout() -> pa.Table:
    return pa.table({"ride_id": ["r0", "r1", "r2"], "distance": [0.5, 1.5, None], "carrier": ["AA", None, "UA"]})


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """Let the lake hold the hold-out's rows in another order, and keep what it is asked for."""
    asked: list[tuple[Any, ...]] = []

    def read_clean(*what: Any) -> pa.Table:
        asked.append(what)
        table = holdout().append_column("owner", [["ann", "bob", "eve"]])
        return table.take([2, 0, 1]).select(what[3])

    monkeypatch.setattr("include.lake.read_clean", read_clean)
    return asked


def test_columns_that_the_holdout_lacks_are_looked_up_where_it_came_from(
    rides: Pipeline, asked: list[tuple[Any, ...]]
) -> None:
    found = with_columns(rides, MANIFEST, holdout().drop_columns(["distance"]), ["distance", "carrier"])

    assert asked == [("rides", "2020-01-21", "2020-01-30", ["ride_id", "distance", "carrier"], "77")]
    assert found["distance"].to_pylist() == holdout()["distance"].to_pylist()


def test_a_repairs_days_are_looked_up_where_they_are_and_not_where_its_network_learned(
    rides: Pipeline, asked: list[tuple[Any, ...]]
) -> None:
    with_columns(rides, {**MANIFEST, "holdout_snapshot_id": "99"}, holdout(), ["owner"])

    assert [what[-1] for what in asked] == ["99"]


def test_every_row_has_a_value_of_each_column(rides: Pipeline, asked: list[tuple[Any, ...]]) -> None:
    assert values_of(rides, MANIFEST, holdout(), ["carrier"]) == {"carrier": ["AA", "(missing)", "UA"]}
    assert asked == []
    assert values_of(rides, MANIFEST, holdout(), ["owner"]) == {"owner": ["ann", "bob", "eve"]}


def test_where_there_is_no_lake_they_are_looked_up_in_the_rows_that_were_brought(
    rides: Pipeline, asked: list[tuple[Any, ...]], tmp_path: Path
) -> None:
    day_before = {"ride_id": ["r0"], "day": ["2020-01-20"], "owner": ["zoe"]}
    brought = {"ride_id": ["r2", "r0", "r1"], "day": ["2020-01-30"] * 3, "owner": ["eve", "ann", "bob"]}
    (tmp_path / "rows").mkdir()
    for number, table in enumerate((day_before, brought)):
        pq.write_table(pa.table(table), tmp_path / "rows" / f"{number}.parquet")

    found = values_of(rides, MANIFEST, holdout(), ["owner"], tmp_path / "rows")

    assert found == {"owner": ["ann", "bob", "eve"]}
    assert asked == []


def test_each_group_is_measured_on_its_own_rows_the_largest_first() -> None:
    labels = np.array([0.0, 1.0, 0.0, 0.0, 1.0, 1.0, 1.0])
    predictions = np.array([0.9, 0.2, 0.8, 0.1, 0.9, 0.9, 0.3])
    carrier = ["AA", "AA", "AA", "UA", "UA", "UA", "UA"]

    found = worth_of(Binary(), labels, predictions, {"carrier": carrier}, policy=POLICY)["carrier"]

    assert list(found) == ["UA", "AA"]
    assert (found["AA"]["rows"], found["UA"]["rows"]) == (3, 4)
    assert (found["AA"]["auc"], found["AA"]["accuracy"]) == (0.0, 0.0)
    assert (found["UA"]["auc"], found["UA"]["accuracy"]) == (1.0, 0.75)


def test_small_groups_are_left_out_and_at_most_ten_are_told() -> None:
    values = [str(number) for number in range(SHOWN + 2) for _ in range(3 + number)] + ["few", "few"]
    labels = np.arange(len(values)) % 2.0

    found = worth_of(Binary(), labels, labels, {"zone": values, "row": list(map(str, labels.cumsum()))}, policy=POLICY)

    assert list(found["zone"]) == [str(number) for number in reversed(range(2, SHOWN + 2))]
    assert found["row"] == {}


def test_what_a_group_cannot_tell_is_left_out() -> None:
    predictions = np.array([0.9, 0.8, 0.7])

    found = worth_of(Binary(), np.ones(3), predictions, {"carrier": ["AA"] * 3}, policy=POLICY)["carrier"]["AA"]

    assert list(found) == ["rows", "log_loss", "brier", "accuracy"]


@pytest.mark.parametrize(
    ("task", "predictions", "metrics"),
    [
        (Regression(mean=0.5, spread=0.5), np.array([0.0, 1.0, 0.5]), {"r2", "rmse", "mae"}),
        (Multiclass(classes=("no", "yes")), np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]]), {"log_loss", "accuracy"}),
    ],
)
def test_every_task_has_its_own_metrics(task: Any, predictions: Any, metrics: set[str]) -> None:
    labels = np.array([0.0, 1.0, 0.0])

    found = worth_of(task, labels, predictions, {"carrier": ["AA"] * 3}, policy=POLICY)["carrier"]["AA"]

    assert metrics | {"rows"} <= set(found)


def test_where_wrong_answers_have_a_price_a_group_has_its_cost() -> None:
    policy = Gate(min_slice_rows=2, costs=Costs(false_positive=1.0, false_negative=5.0))
    labels, predictions = np.array([0.0, 1.0]), np.array([0.9, 0.9])

    found = worth_of(Binary(), labels, predictions, {"carrier": ["AA", "AA"]}, policy=policy)["carrier"]["AA"]

    assert found["cost"] == 0.5
