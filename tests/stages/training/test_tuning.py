import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from optuna.trial import TrialState
from pydantic import ValidationError

from include.errors import ConfigError
from include.recipe import Space, Tuning
from include.training import tuning
from include.training.spec import Spec
from include.training.trials import choose
from include.training.tuning import best_of, run_trial, study_of

SEARCH = {
    "learning_rate": Space(low=1e-5, high=0.1, log=True),
    "hidden": Space(choices=[[4], [16, 8]]),
    "epochs": Space(low=1, high=3),
}


@pytest.fixture
def spec(rides: Any, rows: pa.Table, make_spec: Callable[..., Spec], tmp_path: Path) -> Spec:
    (tmp_path / "rows").mkdir()
    pq.write_table(rows, tmp_path / "rows" / "a.parquet")
    spec = make_spec(rows=tmp_path / "rows", snapshot_id=None)
    return spec.model_copy(update={"training": spec.training.model_copy(update={"tuning": Tuning(search=SEARCH)})})


def test_trials_stay_within_their_space_and_the_best_is_taken(spec: Spec) -> None:
    ended = [run_trial(spec, number) for number in range(5)]

    complete = [each for each in ended if each.state == TrialState.COMPLETE]
    assert len(complete) >= 3
    for each in ended:
        assert 1e-5 <= each.params["learning_rate"] <= 0.1
        assert each.params["epochs"] in {1, 2, 3}
    best = best_of(spec)
    assert best["hidden"] in [[4], [16, 8]]
    assert best["learning_rate"] == min(complete, key=lambda each: each.value).params["learning_rate"]


def test_a_trial_that_has_ended_is_not_run_again(spec: Spec) -> None:
    once = run_trial(spec, 0)

    assert run_trial(spec, 0).number == once.number
    assert len(study_of(spec).trials) == 1


def test_a_trial_whose_process_was_killed_is_run_again(spec: Spec) -> None:
    study_of(spec).ask().set_user_attr(tuning.NUMBER, 0)  # and then nothing more was heard

    assert run_trial(spec, 0).state == TrialState.COMPLETE
    assert [each.state for each in study_of(spec).trials] == [TrialState.FAIL, TrialState.COMPLETE]


def test_settings_that_do_not_work_are_a_result(spec: Spec) -> None:
    wild = Tuning(search={"learning_rate": Space(low=1e30, high=1e31)})
    asked = spec.model_copy(update={"training": spec.training.model_copy(update={"tuning": wild})})

    assert run_trial(asked, 0).state == TrialState.FAIL


def test_the_hold_out_is_not_looked_at(spec: Spec, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    window_of = tuning.window_of

    def noting(table: pa.Table, asked: Spec) -> Any:
        seen.extend(table["day"].to_pylist())
        return window_of(table, asked)

    monkeypatch.setattr(tuning, "window_of", noting)
    run_trial(spec, 0)

    assert set(seen) == {"2020-01-15", "2020-01-16"}
    assert max(seen) < spec.holdout_days[0]


def test_the_best_is_written_down_for_the_training_and_shown(spec: Spec, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[Any] = []
    monkeypatch.setattr("include.registry.log_trials", lambda *what: shown.append(what))
    monkeypatch.setattr("include.training.trials.work_folder", lambda _folder: spec.work)
    (spec.work).mkdir(parents=True, exist_ok=True)
    (spec.work / "spec.json").write_text(spec.model_dump_json())
    run_trial(spec, 0)

    choose("rides", spec.request_id)

    assert json.loads((spec.work / "tuned.json").read_text()) == best_of(spec)
    assert [trial["state"] for trial in shown[0][2]] == ["complete"]


def test_without_a_trial_that_ended_there_is_no_best(spec: Spec) -> None:
    with pytest.raises(ConfigError, match="No trial of rides.first.one has come to its end"):
        best_of(spec)


@pytest.mark.parametrize(
    "space", [{}, {"low": 1}, {"low": 2, "high": 1}, {"low": 1, "high": 2, "choices": [1]}, {"choices": []}]
)
def test_a_space_has_two_ends_or_choices(space: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Space(**space)


def test_only_what_can_be_looked_for_is_allowed() -> None:
    with pytest.raises(ValidationError):
        Tuning(search={"seed": Space(low=1, high=2)})
