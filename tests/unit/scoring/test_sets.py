from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from include.errors import PublishError
from include.scoring.sets import put_in_place

DAYS = {"2020-01-01": 2, "2020-01-02": 3}


@pytest.fixture
def folder(settings):
    return settings.lake / "rides" / "scores" / "version=1"


@pytest.fixture
def leave(folder):
    """Leave aside what Spark would: a file a day, all its rows with the same answer."""

    def write(answer, days=DAYS):
        aside = folder.with_name(f".version=1.{answer}")
        for day, rows in days.items():
            (aside / f"_p={day}").mkdir(parents=True)
            pq.write_table(
                pa.table({"prediction": [None, *[answer] * (rows - 1)]}), aside / f"_p={day}" / "part.parquet"
            )
        return aside

    return write


def found(folder):
    files = {path.parent.name: path for path in folder.glob("day=*/*")}
    assert len(files) == len(list(folder.rglob("*.*")))
    return {name: pq.ParquetFile(path).read()["prediction"][-1].as_py() for name, path in files.items()}


def test_each_day_is_one_file_that_a_later_one_replaces(folder, leave):
    assert put_in_place("rides", leave(0.1), folder, DAYS) == 2
    put_in_place("rides", leave(0.2, {"2020-01-02": 5}), folder, {"2020-01-02": 5})

    assert found(folder) == {"day=2020-01-01": 0.1, "day=2020-01-02": 0.2}


def test_killed_between_two_days_each_has_a_whole_set_and_another_run_finishes(folder, leave, monkeypatch):
    put_in_place("rides", leave(0.1), folder, DAYS)
    replace = Path.replace

    def killed(path, target):
        if "2020-01-02" in str(target):
            raise KeyboardInterrupt
        return replace(path, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", killed)
        with pytest.raises(KeyboardInterrupt):
            put_in_place("rides", leave(0.2), folder, DAYS)
    assert found(folder) == {"day=2020-01-01": 0.2, "day=2020-01-02": 0.1}

    put_in_place("rides", leave(0.3), folder, DAYS)
    assert found(folder) == {"day=2020-01-01": 0.3, "day=2020-01-02": 0.3}


@pytest.mark.parametrize("days", [{"2020-01-01": 2}, {**DAYS, "2020-01-02": 4}], ids=["a day short", "rows too many"])
def test_where_spark_has_left_other_rows_nothing_is_replaced(folder, leave, days):
    put_in_place("rides", leave(0.1), folder, DAYS)

    with pytest.raises(PublishError, match=r"'2020-01-02': \(.*, 3\).*Nothing was replaced; score these days again"):
        put_in_place("rides", leave(0.2, days), folder, DAYS)

    assert found(folder) == {"day=2020-01-01": 0.1, "day=2020-01-02": 0.1}
