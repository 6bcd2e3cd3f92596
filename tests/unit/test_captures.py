import os
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from include import captures

NOW = datetime(2020, 1, 5, 12, tzinfo=UTC)


@pytest.fixture
def write(tmp_path):
    def file(name, *ids, hours=2.0, **columns):
        rows = pa.table({"answer_id": list(ids), **{column: [value] * len(ids) for column, value in columns.items()}})
        pq.write_table(rows, tmp_path / f"{name}.parquet")
        written = (NOW - timedelta(hours=hours)).timestamp()
        os.utime(tmp_path / f"{name}.parquet", (written, written))

    return file


def ids(folder):
    return sorted(row for table in captures.read_captured(folder) for row in table["answer_id"].to_pylist())


def test_many_files_become_one_with_the_same_rows(write, tmp_path):
    write("a", "1", "2")
    write("b", "3")

    assert captures.compact(tmp_path, NOW) == 2

    assert len(captures.captured_files(tmp_path)) == 1
    assert ids(tmp_path) == ["1", "2", "3"]


def test_compacting_again_does_nothing(write, tmp_path):
    write("a", "1")
    write("b", "2")
    captures.compact(tmp_path, NOW)

    assert captures.compact(tmp_path, NOW) == 0


def test_young_files_are_left_for_the_next_time(write, tmp_path):
    write("a", "1")
    write("b", "2", hours=0.5)

    assert captures.compact(tmp_path, NOW) == 0
    assert len(captures.captured_files(tmp_path)) == 2


def test_the_file_is_as_old_as_its_newest_part(write, tmp_path):
    write("a", "1", hours=90)
    write("b", "2", hours=80)
    captures.compact(tmp_path, NOW)

    (path,) = captures.captured_files(tmp_path)
    assert path.stat().st_mtime == pytest.approx((NOW - timedelta(hours=80)).timestamp())


def test_files_with_other_columns_or_types_stay_apart(write, tmp_path):
    for number, prediction in enumerate((0.5, 0.6, "late", "early")):
        write(f"part{number}", str(number), prediction=prediction)

    assert captures.compact(tmp_path, NOW) == 4

    tables = captures.read_captured(tmp_path)
    assert sorted(table["prediction"].to_pylist() for table in tables[:1]) in ([[0.5, 0.6]], [["late", "early"]])
    assert len(tables) == 2


@pytest.mark.parametrize("after", range(4))
def test_killed_at_any_moment_no_row_is_lost_and_the_next_one_leaves_each_once(write, tmp_path, monkeypatch, after):
    for number in range(3):
        write(f"part{number}", str(number))
    left = after
    unlink = type(tmp_path).unlink

    def killed(path, *arguments, **options):
        nonlocal left
        if path.suffix == ".parquet":
            if left == 0:
                raise KeyboardInterrupt
            left -= 1
        unlink(path, *arguments, **options)

    monkeypatch.setattr(type(tmp_path), "unlink", killed)
    if after < 3:
        with pytest.raises(KeyboardInterrupt):
            captures.compact(tmp_path, NOW)
    monkeypatch.undo()

    assert set(ids(tmp_path)) == {"0", "1", "2"}
    captures.compact(tmp_path, NOW)
    assert len(captures.captured_files(tmp_path)) == 1
    assert ids(tmp_path) == ["0", "1", "2"]


def test_a_reader_that_meets_a_compaction_reads_again(write, tmp_path, monkeypatch):
    write("a", "1")
    write("b", "2")
    listed = captures.captured_files

    def list_then_compact(folder):
        files = listed(folder)
        monkeypatch.setattr(captures, "captured_files", listed)
        captures.compact(folder, NOW)
        return files

    monkeypatch.setattr(captures, "captured_files", list_then_compact)

    assert ids(tmp_path) == ["1", "2"]


def test_a_day_without_files_is_an_error_that_says_how_long_they_are_kept(tmp_path):
    with pytest.raises(FileNotFoundError, match="predictions_days"):
        captures.read_captured(tmp_path)
