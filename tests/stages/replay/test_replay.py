"""A small history with a change in it, lived through by real trainings, scouts, governor and gate."""

from datetime import date, timedelta

import numpy as np
import pyarrow as pa
import pytest

from include.evaluation import Verdict
from include.policy import Gate, Governor, Repairs
from include.recipe import Features, Training
from include.replay.history import Models, load_history
from include.replay.report import as_dict, draw, false_alarms, numbers, replay

DAYS = [(date(2020, 1, 1) + timedelta(days=number)).isoformat() for number in range(80)]
TURN = 45  # the first day on which what counts is turned round
PER_DAY = 150
FIRST, LAST = DAYS[30], DAYS[-1]


def rides_of(turn: int | None) -> pa.Table:
    random = np.random.default_rng(0)
    size = len(DAYS) * PER_DAY
    place = np.arange(size) // PER_DAY
    distance, carrier = random.normal(0, 1, size), random.choice(["AA", "UA"], size)
    way = np.where(place >= turn, -1.0, 1.0) if turn is not None else 1.0
    late = random.random(size) < 1 / (1 + np.exp(-2 * way * distance + (carrier == "AA")))
    return pa.table(
        {
            "ride_id": [f"r{number:05}" for number in range(size)],
            "day": [DAYS[each] for each in place],
            "late": late,
            "distance": distance,
            "carrier": carrier,
        }
    )


@pytest.fixture
def keeping(rides):
    training = Training(
        target="late",
        features=Features(numeric=["distance"], categorical=["carrier"]),
        window_days=14,
        holdout_days=7,
        min_rows=50,
        epochs=2,
        hidden=[8],
        learning_rate=0.02,
    )
    governor = Governor(metric="log_loss", alarming=2, windows=3, min_rows=50, cooldown_days=7, repairs=Repairs())
    return rides.model_copy(
        update={"training": training, "governor": governor, "gate": Gate(metric="log_loss", margin=0.02)}
    )


@pytest.fixture
def history_of(keeping, monkeypatch):
    def load(turn: int | None, **options):
        monkeypatch.setattr("include.lake.read_clean", lambda *_: rides_of(turn))
        return load_history(keeping, FIRST, LAST, **options)

    return load


def test_a_world_that_turns_round_is_answered_by_a_training_that_gains(history_of, tmp_path):
    history = history_of(TURN)
    models = Models(history, tmp_path)

    static, governed = (replay(history, models, name, FIRST, LAST) for name in ("static", "governor"))

    (first, *_) = [event for event in governed.told.events if event["action"] == "retrain" and event["done"]]
    assert TURN < history.index[first["day"]] <= TURN + 16
    assert numbers(governed.told)["log_loss"] < 0.9 * numbers(static.told)["log_loss"]
    assert false_alarms(governed)["share"] < 1
    told = as_dict(governed)
    assert len(told["nights"]) == 50
    assert told["decisions"][0]["reason"]
    draw([static, governed], tmp_path / "plot.png")
    assert (tmp_path / "plot.png").stat().st_size > 10_000


def test_where_nothing_changes_nothing_is_trained(history_of, tmp_path):
    history = history_of(None)

    governed = replay(history, Models(history, tmp_path), "governor", FIRST, LAST)

    assert [event for event in governed.told.events if event["action"] != "recalibrate"] == []


def test_what_the_gate_refuses_is_never_served(history_of, tmp_path, monkeypatch):
    history = history_of(TURN)
    refused = Verdict(False, "log_loss", 0.0, 0.0, 0.0, (0.0, 0.0), 1, 1, "Refused.")
    monkeypatch.setattr("include.replay.simulate.gate", lambda *_, **__: refused)

    models = Models(history, tmp_path)
    static, governed = (replay(history, models, name, FIRST, LAST) for name in ("static", "governor"))

    assert {"recalibrate", "retrain"} <= {event["action"] for event in governed.told.events}
    assert governed.told.loss == static.told.loss
    assert numbers(governed.told)["refused"] == len(governed.told.events)
    assert numbers(governed.told)["recalibrations"] == 0


def test_a_calendar_trains_when_it_says_and_a_second_replay_trains_nothing(history_of, tmp_path, monkeypatch):
    history = history_of(TURN)
    once = replay(history, Models(history, tmp_path), "every:20", FIRST, LAST)
    monkeypatch.setattr("include.replay.history._MAKERS", {})  # nothing can be made any more

    again = replay(history, Models(history, tmp_path), "every:20", FIRST, LAST)

    assert [event["day"] for event in once.told.events] == [DAYS[49], DAYS[69]]
    assert once.told.loss == again.told.loss


def test_shuffled_days_hold_what_they_held_in_another_order(history_of):
    history, shuffled = history_of(TURN), history_of(TURN, shuffle_seed=1)

    assert shuffled.names == history.names
    assert sorted(np.add.reduceat(shuffled.labels, shuffled.starts[:-1])) == sorted(
        np.add.reduceat(history.labels, history.starts[:-1])
    )
    assert (shuffled.labels != history.labels).any()
