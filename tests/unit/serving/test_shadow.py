from datetime import UTC, datetime

import pyarrow.parquet as pq
import pytest

from include.serving import shadow as shadowing
from include.serving.capture import Capture, Captured
from include.serving.metrics import Metrics
from include.serving.model import load
from include.serving.shadow import Shadow, shadow_folder


@pytest.fixture
def challenger(settings, make_model, monkeypatch):
    loaded = load(settings, "rides", 2, *make_model("m2"))
    monkeypatch.setattr(shadowing, "ROWS_AT_ONCE", 2)
    return loaded


@pytest.fixture
def shadow(tmp_path):
    metrics = Metrics()
    return Shadow(tmp_path / "lake", metrics, Capture(tmp_path / "lake", metrics))


def asked(challenger, num_rows=1, distance=2.0):
    return Captured(
        pipeline="rides",
        version=1,
        key="ride_id",
        features=challenger.features,
        task=challenger.task,
        at=datetime(2020, 1, 2, tzinfo=UTC),
        ids=[f"i{row}" for row in range(num_rows)],
        keys=list(range(num_rows)),
        days=[None] * num_rows,
        columns={"distance": [distance] * num_rows, "carrier": ["AA"] * num_rows},
        answers=[{"prediction": 0.25}] * num_rows,
    )


def counted(shadow, name, **labels):
    return shadow._metrics._registry.get_sample_value(name, {"pipeline": "rides"} | labels)


def test_copies_are_answered_and_kept_beside_the_champions_answers(shadow, challenger, tmp_path):
    shadow.put(challenger, asked(challenger))
    shadow.put(challenger, asked(challenger, num_rows=3))

    shadow.stop()

    (path,) = shadow_folder(tmp_path / "lake", "rides", 2).iterdir()
    kept = pq.read_table(path)
    assert kept["answer_id"].to_pylist() == ["i0", "i0", "i1", "i2"]
    assert kept["answer_version"].to_pylist() == [2] * 4
    assert kept["champion_prediction"].to_pylist() == [0.25] * 4
    assert all(0 <= chance <= 1 for chance in kept["prediction"].to_pylist())


def test_what_the_challenger_cannot_answer_counts_against_it_alone(shadow, challenger, tmp_path):
    shadow.put(challenger, asked(challenger, distance="far"))

    shadow.stop()

    assert counted(shadow, "evergreen_version_failures_total", version="2") == 1
    assert not shadow_folder(tmp_path / "lake", "rides", 2).exists()


def test_users_are_answered_between_its_portions(shadow, challenger, monkeypatch):
    pauses = []
    monkeypatch.setattr(shadow._is_stopping, "wait", pauses.append)
    for _ in range(5):
        shadow.put(challenger, asked(challenger))

    shadow.flush()

    assert len(pauses) == 3


def test_copies_that_find_no_room_are_counted(shadow, challenger, monkeypatch):
    monkeypatch.setattr(shadowing, "MAX_WAITING_ROWS", 3)

    for _ in range(3):
        shadow.put(challenger, asked(challenger, num_rows=2))

    assert counted(shadow, "evergreen_shadow_dropped_rows_total") == 4


def test_under_pressure_copies_make_way_for_captures(shadow, challenger, monkeypatch):
    monkeypatch.setattr(shadow._capture, "is_pressed", lambda: True)

    shadow.put(challenger, asked(challenger))

    assert counted(shadow, "evergreen_shadow_dropped_rows_total") == 1


def test_a_request_larger_than_the_room_is_copied_where_nothing_waits(shadow, challenger, monkeypatch):
    monkeypatch.setattr(shadowing, "MAX_WAITING_ROWS", 3)

    shadow.put(challenger, asked(challenger, num_rows=5))
    shadow.put(challenger, asked(challenger))

    assert counted(shadow, "evergreen_shadow_dropped_rows_total") == 1
