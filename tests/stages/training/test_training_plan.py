import json
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from include.errors import ConfigError, NotEnoughDataError
from include.ledger import nights, open_ledger, releases, requests
from include.pipeline import Pipeline
from include.recipe import Features, Training
from include.settings import Settings
from include.training.plan import plan, windows
from include.training.spec import read_spec


def history(days: int, rows: int = 900) -> dict[str, int]:
    return {(date(2013, 1, 1) + timedelta(days=offset)).isoformat(): rows for offset in range(days)}


TRAINING = Training(target="late", features=Features(numeric=["distance"]), window_days=56, holdout_days=14)


def test_the_newest_days_are_held_out_and_those_before_are_learned_from() -> None:
    train, holdout = windows(history(200), TRAINING, "flights")

    assert holdout == ("2013-07-06", "2013-07-19")
    assert train == ("2013-05-11", "2013-07-05")


def test_a_short_history_shortens_the_training_window_only() -> None:
    train, holdout = windows(history(59), TRAINING, "flights")

    assert train == ("2013-01-01", "2013-02-14")
    assert holdout == ("2013-02-15", "2013-02-28")


def test_days_without_labels_do_not_count() -> None:
    labelled = history(59) | {"2013-03-01": 0, "2013-02-20": 0}

    train, holdout = windows(labelled, TRAINING, "flights")

    assert holdout == ("2013-02-14", "2013-02-28")
    assert train[1] == "2013-02-13"


@pytest.mark.parametrize(
    ("labelled", "said"),
    [
        ({}, "no labelled day: 0 rows"),
        (history(14), r"14 labelled days \(2013-01-01 to 2013-01-14\): 0 rows"),
        (history(20, rows=100), "600 rows to train on"),
    ],
)
def test_too_little_data_says_what_there_is(labelled: dict[str, int], said: str) -> None:
    with pytest.raises(NotEnoughDataError, match=said):
        windows(labelled, TRAINING, "flights")


@pytest.fixture
def request_id(rides: Pipeline, rows: pa.Table, lake_of: Callable[[pa.Table], None]) -> str:
    lake_of(rows)
    with open_ledger() as session:
        for day in sorted(set(rows["day"].to_pylist())):
            nights.record_partition(
                session, "rides", day, status="published", rows=100, labelled=95, quarantined=0, run_key="r", report="",
                note="",
            )  # fmt: skip
        return requests.file_request(
            session,
            "rides",
            reason="no champion",
            triggered_by="first",
            key="one",
            detail={"epochs": 2, "window_days": 3},
        ).id


def test_the_spec_pins_snapshot_windows_and_what_the_request_asks_for(
    rides: Pipeline, settings: Settings, request_id: str
) -> None:
    path = plan(rides, request_id)

    spec = read_spec(path)
    assert (spec.snapshot_id, spec.reason) == ("77", "no champion")
    assert spec.train_days == ("2020-01-17", "2020-01-19")
    assert spec.holdout_days == ("2020-01-20", "2020-01-20")
    assert (spec.training.epochs, spec.training.window_days) == (2, 3)
    assert spec.folder == settings.models / "rides" / "rides.first.one"
    assert plan(rides, request_id) == path
    assert [found.name for found in Path(path).parent.iterdir()] == [Path(path).name]


@pytest.fixture
def await_labels(rows: pa.Table, lake_of: Callable[[pa.Table], None], request_id: str) -> Callable[[int], None]:
    """Return a function that takes their labels from the newest days."""

    def unlabel(days: int) -> None:
        with open_ledger() as session:
            newest = nights.partitions_of(session, "rides", newest=days)
            for row in newest:
                row.labelled = 0
            waiting = pc.is_in(rows["day"], value_set=pa.array([row.day for row in newest]))
        late = pc.if_else(waiting, pa.scalar(None, pa.bool_()), rows["late"])
        lake_of(rows.set_column(rows.column_names.index("late"), "late", late))

    return unlabel


@pytest.mark.parametrize("waiting", [2, 7], ids=["fewer days than the window", "more days than window and hold-out"])
def test_late_labels_move_the_windows_back_and_do_not_shorten_them(
    rides: Pipeline, request_id: str, await_labels: Callable[[int], None], waiting: int
) -> None:
    await_labels(waiting)

    spec = read_spec(plan(rides, request_id))

    held_out = date(2020, 1, 20) - timedelta(days=waiting)
    assert spec.holdout_days == (held_out.isoformat(), held_out.isoformat())
    assert spec.train_days == tuple((held_out - timedelta(days=days)).isoformat() for days in (3, 1))


def test_a_repair_learns_from_the_newest_labelled_days_however_many_wait_for_labels(
    rides: Pipeline,
    await_labels: Callable[[int], None],
    approve: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await_labels(5)
    monkeypatch.setattr("include.training.plan.read_manifest", lambda _: {"train_days": ["2020-01-01", "2020-01-05"]})
    release_id = approve()
    with open_ledger() as session:
        releases.finish_promotion(session, release_id, releases.begin_promotion(session, release_id))
        asked = requests.file_request(
            session, "rides", reason="it moved", triggered_by="quality", key="k", detail={}, repair="recalibrate"
        )
    short = rides.model_copy(update={"training": rides.training.model_copy(update={"window_days": 4})})

    assert read_spec(plan(short, asked.id)).holdout_days == ("2020-01-06", "2020-01-15")


def test_a_try_that_has_something_to_go_on_from_keeps_its_snapshot_and_days(
    rides: Pipeline, request_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = read_spec(plan(rides, request_id))
    monkeypatch.setattr("include.lake.current_snapshot", lambda _name: "78")

    assert read_spec(plan(rides, request_id)).snapshot_id == "78"
    (begun.work / "spec.json").write_text(begun.model_dump_json())
    begun.scratch.mkdir()
    assert read_spec(plan(rides, request_id)) == begun

    other = rides.training.model_copy(update={"learning_rate": 0.5})
    assert read_spec(plan(rides.model_copy(update={"training": other}), request_id)).snapshot_id == "78"


def test_an_unknown_request_is_refused(rides: Pipeline, request_id: str) -> None:
    with pytest.raises(ConfigError, match=r"no request 'rides\.hand\.x'"):
        plan(rides, "rides.hand.x")


def test_a_broken_spec_is_named(tmp_path: Path) -> None:
    (tmp_path / "spec.json").write_text(json.dumps({"pipeline": "rides"}))

    with pytest.raises(ConfigError, match=r"spec\.json: not a training spec"):
        read_spec(tmp_path / "spec.json")
