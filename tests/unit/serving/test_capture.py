from dataclasses import replace
from datetime import UTC, datetime

import pyarrow.parquet as pq
import pytest

from include.learning.binary import Binary
from include.recipe import Features
from include.serving import capture as capturing
from include.serving.capture import Capture, Captured, capture_schema
from include.serving.metrics import Metrics

FEATURES = Features(numeric=["distance"], categorical=["carrier"])


def captured(days, version=1, distance=1.0):
    num_rows = len(days)
    return Captured(
        pipeline="rides",
        version=version,
        key="ride_id",
        features=FEATURES,
        task=Binary(),
        at=datetime(2020, 1, 5, 12, tzinfo=UTC),
        ids=[f"i{row}" for row in range(num_rows)],
        keys=list(range(num_rows)),
        days=days,
        columns={"distance": [distance] * num_rows, "carrier": [None] * num_rows},
        answers=[{"prediction": 0.5}] * num_rows,
    )


@pytest.fixture
def capture(tmp_path):
    return Capture(tmp_path, Metrics())


def files(tmp_path, day):
    return sorted((tmp_path / "rides" / "predictions" / f"day={day}").glob("*"))


def test_rows_are_kept_under_their_own_day_or_today(capture, tmp_path):
    capture.put(captured(["2020-01-02", None, "2020-01-02"]))
    capture.put(captured(["2020-01-02"], version=2))

    capture.flush()

    (path,) = files(tmp_path, "2020-01-02")
    kept = pq.ParquetFile(path).read()
    assert kept["answer_version"].to_pylist() == [1, 1, 2]
    assert kept["ride_id"].to_pylist() == ["0", "2", "0"]
    assert len(files(tmp_path, "2020-01-05")) == 1


def test_a_strangers_columns_may_have_any_everyday_name(capture, tmp_path):
    features = Features(numeric=["day", "version", "at"], categorical=["carrier"])
    columns = {"day": [31.0], "version": [2.5], "at": [None], "carrier": ["AA"]}

    capture.put(replace(captured(["2020-01-02"]), key="id", features=features, columns=columns))
    capture.flush()

    [kept] = pq.ParquetFile(files(tmp_path, "2020-01-02")[0]).read().to_pylist()
    assert (kept["id"], kept["day"], kept["version"]) == ("0", 31.0, 2.5)
    assert (kept["answer_id"], kept["answer_day"], kept["answer_version"]) == ("i0", "2020-01-02", 1)


def test_every_file_has_the_same_columns_even_if_all_values_are_missing(capture, tmp_path):
    capture.put(captured(["2020-01-02"], distance=None))
    capture.flush()
    capture.put(captured(["2020-01-02"]))
    capture.flush()

    schemas = [pq.read_schema(path) for path in files(tmp_path, "2020-01-02")]

    assert schemas == [capture_schema("ride_id", FEATURES, Binary())] * 2


def test_a_full_queue_drops_and_counts_and_never_waits(capture, monkeypatch):
    monkeypatch.setattr(capturing, "MAX_WAITING_ROWS", 3)

    capture.put(captured([None, None]))
    capture.put(captured([None, None]))

    counted = capture._metrics._registry.get_sample_value
    assert counted("evergreen_capture_dropped_rows_total", {"pipeline": "rides", "reason": "queue_full"}) == 2


@pytest.fixture
def full_disk(monkeypatch):
    def fail(*_arguments):
        raise OSError("disk full")

    monkeypatch.setattr(pq, "write_table", fail)
    return monkeypatch


def test_rows_wait_for_a_full_disk_and_the_problem_is_told_meanwhile(capture, tmp_path, full_disk):
    capture.put(captured(["2020-01-02"]))
    capture.flush()

    assert "disk full" in capture.problem
    assert files(tmp_path, "2020-01-02") == []

    full_disk.undo()
    capture.flush()

    assert capture.problem == ""
    assert len(files(tmp_path, "2020-01-02")) == 1


def test_what_waits_for_a_full_disk_is_bounded_and_what_is_lost_is_counted(capture, full_disk, monkeypatch):
    monkeypatch.setattr(capturing, "MAX_WAITING_ROWS", 8)
    for _ in range(3):
        capture.put(captured([None, None]))
        capture.flush()

    counted = capture._metrics._registry.get_sample_value
    assert counted("evergreen_capture_dropped_rows_total", {"pipeline": "rides", "reason": "write_failed"}) == 2

    capture.stop()

    assert counted("evergreen_capture_dropped_rows_total", {"pipeline": "rides", "reason": "write_failed"}) == 6


def test_stopping_writes_what_is_waiting(capture, tmp_path):
    capture.start()
    capture.put(captured(["2020-01-02"]))

    capture.stop()

    assert len(files(tmp_path, "2020-01-02")) == 1


@pytest.mark.parametrize(("num_requests", "is_paused"), [(2, True), (5, False)])
def test_others_are_answered_between_columns_unless_rows_come_faster_than_they_are_written(
    capture, monkeypatch, num_requests, is_paused
):
    pauses = []
    monkeypatch.setattr(capturing.time, "sleep", pauses.append)
    monkeypatch.setattr(capturing, "FLUSH_ROWS", 1_000)
    for _ in range(num_requests):
        capture.put(captured(["2020-01-02"] * 500))

    capture.flush()

    assert bool(pauses) is is_paused
