from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from include.errors import ConfigError, NotEnoughDataError
from include.pipeline import Features
from include.training.data import feature_columns, load_windows, split
from include.training.spec import Spec


def test_rows_without_a_label_are_left_out_and_the_windows_do_not_overlap(
    rows: pa.Table, make_spec: Callable[..., Spec]
) -> None:
    train, holdout = split(rows, make_spec())

    assert len(train) + len(holdout) == len(rows) - rows["late"].null_count
    assert max(train.days) == "2020-01-16"
    assert min(holdout.days) == "2020-01-17"
    assert set(train.labels.to_pylist()) == {0.0, 1.0}


def test_the_order_of_rows_in_files_changes_nothing(rows: pa.Table, make_spec: Callable[..., Spec]) -> None:
    shuffled = rows.take(pa.array(np.random.default_rng(1).permutation(len(rows))))

    for one, other in zip(split(rows, make_spec()), split(shuffled, make_spec()), strict=True):
        assert one.keys.equals(other.keys)
        assert one.as_table(make_spec()).equals(other.as_table(make_spec()))


def test_dates_are_taken_as_dates_or_as_text(rows: pa.Table, make_spec: Callable[..., Spec]) -> None:
    position = rows.column_names.index("day")
    as_dates = rows.set_column(position, "day", pc.cast(rows["day"], pa.date32()))

    assert list(split(as_dates, make_spec())[1].days) == list(split(rows, make_spec())[1].days)


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


def test_a_window_of_one_class_is_refused(rows: pa.Table, make_spec: Callable[..., Spec]) -> None:
    on_time = rows.set_column(rows.column_names.index("late"), "late", pa.array([False] * len(rows)))

    with pytest.raises(
        NotEnoughDataError, match="training window 2020-01-01 to 2020-01-16 of 'rides' has 1600 labelled rows"
    ):
        split(on_time, make_spec())


def test_only_the_spec_s_days_are_read(
    rows: pa.Table, make_spec: Callable[..., Spec], lake_of: Callable[[pa.Table], None]
) -> None:
    lake_of(rows)

    train, holdout = load_windows(
        make_spec(train_days=("2020-01-03", "2020-01-04"), holdout_days=("2020-01-06", "2020-01-06"))
    )

    assert set(train.days) == {"2020-01-03", "2020-01-04"}
    assert set(holdout.days) == {"2020-01-06"}
