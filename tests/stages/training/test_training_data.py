from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from include.errors import ConfigError, NotEnoughDataError
from include.recipe import Features
from include.training.data import check, feature_columns, look
from include.training.rows import Rows, fetch
from include.training.spec import Spec


@pytest.fixture
def fetched(lake_of: Callable[[pa.Table], None], tmp_path: Path) -> Callable[[pa.Table, Spec], Rows]:
    """Return a function that fetches a spec's rows from a lake that holds a table."""

    def run(table: pa.Table, spec: Spec) -> Rows:
        lake_of(table)
        return fetch(spec.model_copy(update={"folder": tmp_path / uuid4().hex / "model"}))

    return run


def test_rows_without_a_label_are_left_out_and_the_windows_do_not_overlap(
    rows: pa.Table, make_spec: Callable[..., Spec], fetched: Any
) -> None:
    spec = make_spec()
    found = fetched(rows, spec)
    train, holdout = found.span(*spec.train_days), found.span(*spec.holdout_days)

    assert len(train) + len(holdout) == len(rows) - rows["late"].null_count
    assert (train.days[-1], holdout.days[0]) == ("2020-01-16", "2020-01-17")
    assert set(train.table(["label"])["label"].to_pylist()) == {0.0, 1.0}
    assert set(holdout.table()["day"].to_pylist()) == set(holdout.days)


def test_the_order_of_rows_in_files_changes_nothing(
    rows: pa.Table, make_spec: Callable[..., Spec], fetched: Any
) -> None:
    shuffled = rows.take(pa.array(np.random.default_rng(1).permutation(len(rows))))
    spec = make_spec()

    one, other = (fetched(each, spec).span(*spec.train_days).table() for each in (rows, shuffled))

    assert one.equals(other)


def test_dates_are_taken_as_dates_or_as_text(rows: pa.Table, make_spec: Callable[..., Spec], fetched: Any) -> None:
    position = rows.column_names.index("day")
    as_dates = rows.set_column(position, "day", pc.cast(rows["day"], pa.date32()))

    assert fetched(as_dates, make_spec()).days == fetched(rows, make_spec()).days


def test_a_span_is_read_in_chunks_that_make_the_whole(
    rows: pa.Table, make_spec: Callable[..., Spec], fetched: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("include.training.rows.CHUNK_ROWS", 150)
    span = fetched(rows, make_spec()).span("2020-01-03", "2020-01-09")

    chunks = list(span.chunks())

    assert len(chunks) > 3
    assert pa.concat_tables(chunks).equals(span.table())
    assert span.table()["day"].to_pylist()[:: len(span) - 1] == ["2020-01-03", "2020-01-09"]


def test_a_sample_is_some_of_the_rows_in_their_order(
    rows: pa.Table, make_spec: Callable[..., Spec], fetched: Any
) -> None:
    span = fetched(rows, make_spec()).span("2020-01-01", "2020-01-16")

    keys = span.sample(100, seed=1)["ride_id"].to_pylist()

    assert len(set(keys)) == 100
    assert keys == sorted(keys)
    assert keys == span.sample(100, seed=1)["ride_id"].to_pylist() != span.sample(100, seed=2)["ride_id"].to_pylist()
    assert set(keys) < set(span.table()["ride_id"].to_pylist())


def test_categories_and_ranges_are_those_of_all_rows(
    rows: pa.Table, make_spec: Callable[..., Spec], fetched: Any
) -> None:
    spec = make_spec()

    seen = look(fetched(rows, spec).span(*spec.train_days), spec.training.features)

    assert seen.categories["carrier"] == ["", "AA", "B6", "UA"]
    assert set(seen.ranges) == {"distance", "humidity"}
    assert seen.ranges["humidity"] == [0, 99]


def test_missing_numbers_are_nan_and_missing_text_is_empty(rows: pa.Table, make_spec: Callable[..., Spec]) -> None:
    columns = feature_columns(rows, make_spec().training.features)

    assert columns["distance"].dtype == np.float32
    assert np.isnan(columns["distance"]).sum() == rows["distance"].null_count > 0
    assert (columns["carrier"] == "").sum() == rows["carrier"].null_count > 0
    assert columns["humidity"].dtype == np.float32


def test_booleans_count_as_numbers() -> None:
    table = pa.table({"holiday": [True, None, False]})

    np.testing.assert_array_equal(feature_columns(table, Features(numeric=["holiday"]))["holiday"], [1, np.nan, 0])


def test_a_category_that_is_not_text_is_refused_with_a_way_out() -> None:
    table = pa.table({"flight": [1, 2]})

    with pytest.raises(ConfigError, match=r"'flight', which is int64.*cast\(flight as string\)"):
        feature_columns(table, Features(categorical=["flight"]))


def test_a_window_of_one_class_is_refused(rows: pa.Table, make_spec: Callable[..., Spec], fetched: Any) -> None:
    on_time = rows.set_column(rows.column_names.index("late"), "late", pa.array([False] * len(rows)))
    spec = make_spec()

    with pytest.raises(NotEnoughDataError, match="training window of 'rides' has 1600 labelled rows"):
        check(fetched(on_time, spec).span(*spec.train_days), spec, "training window")


def test_only_the_spec_s_days_are_read(rows: pa.Table, make_spec: Callable[..., Spec], fetched: Any) -> None:
    found = fetched(rows, make_spec(train_days=("2020-01-03", "2020-01-04"), holdout_days=("2020-01-05", "2020-01-06")))

    assert found.days == ("2020-01-03", "2020-01-04", "2020-01-05", "2020-01-06")
