from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from include.errors import ConfigError
from include.learning.binary import Binary
from include.learning.kinds import KINDS, labels_of, task_of
from include.learning.metrics import GATE_DEFAULT
from include.learning.multiclass import Multiclass
from include.learning.regression import Regression

ANIMALS = Multiclass(("cat", "dog"))
CHANCES = np.array([[0.75, 0.25], [0.125, 0.875]], dtype=np.float32)


def labels(task: str, *values: Any) -> list[Any]:
    return labels_of(pa.table({"target": list(values)}), task, "target").to_pylist()


@pytest.mark.parametrize(
    ("task", "given", "kept"),
    [
        ("binary", [True, False, None], [1.0, 0.0, None]),
        ("binary", [1, 0, None], [1.0, 0.0, None]),
        ("multiclass", ["cat", None, "dog"], ["cat", None, "dog"]),
        ("multiclass", [10, 2, None], ["10", "2", None]),
        ("multiclass", [10.0, 2.0, float("nan")], ["10", "2", None]),
        ("multiclass", [True, False], ["true", "false"]),
        ("regression", [1, 2, None], [1.0, 2.0, None]),
        ("regression", [1.5, float("nan"), float("inf")], [1.5, None, None]),
    ],
)
def test_labels_are_kept_in_one_way_per_task(task: str, given: list[Any], kept: list[Any]) -> None:
    assert labels(task, *given) == kept


@pytest.mark.parametrize(
    ("task", "given", "said"),
    [
        ("binary", [0, 1, 2], "'training.target' is 'target', which holds 2: a binary target is true or false"),
        ("binary", ["yes", "no"], "which is string in the clean table.*Derive such a column"),
        ("multiclass", [1.5, 2.0], "which holds 1.5: that is no class. Say `training.task: regression`"),
        ("regression", ["1.5"], "which is string in the clean table: a regression predicts a number"),
        ("regression", [True], "which is bool"),
    ],
)
def test_a_target_of_another_task_is_refused_with_a_way_out(task: str, given: list[Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        labels(task, *given)


def test_classes_are_in_the_order_people_count_in() -> None:
    assert Multiclass.learn(pa.array(["10", "9", "b", "a", "9"])).classes == ("9", "10", "a", "b")


def test_every_task_of_the_yaml_is_there_and_survives_a_manifest() -> None:
    assert set(KINDS) == set(GATE_DEFAULT)
    for task in (Binary(), ANIMALS, Regression(3.5, 2.0)):
        assert task_of({"task": task.as_dict()}) == task


@pytest.mark.parametrize(
    ("task", "predictions", "answers"),
    [
        (Binary(), np.array([0.25, 0.5], np.float32), [{"prediction": 0.25}, {"prediction": 0.5}]),
        (Regression(), np.array([-3, 1e6], np.float32), [{"prediction": -3.0}, {"prediction": 1e6}]),
        (
            ANIMALS,
            CHANCES,
            [
                {"prediction": "cat", "probabilities": {"cat": 0.75, "dog": 0.25}},
                {"prediction": "dog", "probabilities": {"cat": 0.125, "dog": 0.875}},
            ],
        ),
    ],
)
def test_files_hold_the_answers_and_give_the_predictions_back(task, predictions, answers) -> None:
    written = pa.table(task.columns(predictions))

    assert task.answers(predictions) == answers
    assert written.schema == pa.schema(task.fields)
    assert pa.Table.from_pylist(answers, schema=written.schema).equals(written)
    np.testing.assert_array_equal(task.recorded(written), predictions)
    np.testing.assert_array_equal(task.recorded(written.slice(1)), predictions[1:])


def test_models_of_other_classes_are_compared_on_all_classes_there_are() -> None:
    older = Multiclass(("dog", "emu"))

    task, true, (mine, theirs) = ANIMALS.compare(
        pa.array(["cat", "emu", "fox"]), (ANIMALS, CHANCES[[0, 1, 1]]), (older, CHANCES[[0, 1, 1]])
    )

    assert task.classes == ("cat", "dog", "emu", "fox")
    assert list(true) == [0, 2, 3]
    assert list(mine[0]) == [0.75, 0.25, 0, 0]
    assert list(theirs[0]) == [0, 0.75, 0.25, 0]


def test_a_lost_model_s_classes_are_read_off_its_answers() -> None:
    assert Multiclass.from_answers(pa.table(ANIMALS.columns(CHANCES))) == ANIMALS


def test_the_constant_prediction_is_how_labels_are_spread() -> None:
    assert list(Binary().constant(np.array([0.0, 1, 1, 1]))) == [0.75] * 4
    assert list(Regression().constant(np.array([1.0, 3]))) == [2.0] * 2
    assert ANIMALS.constant(np.array([0.0, 1, 1, 1])).tolist() == [[0.25, 0.75]] * 4


def test_values_are_compared_by_their_own_size_and_probabilities_as_they_are() -> None:
    near = np.array([1e6 + 0.5])

    assert Regression(mean=1e6, spread=10.0).difference(near, np.array([1e6])) == pytest.approx(5e-7)
    assert Regression(spread=1e-3).difference(np.array([1e-4]), np.array([0.0])) == pytest.approx(0.1)
    assert Binary().difference(np.array([1e-4]), np.array([0.0])) == pytest.approx(1e-4)
    assert np.isnan(Binary().difference(np.array([np.nan]), np.array([0.0])))


def test_a_price_for_a_class_nobody_knows_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"'gate.costs' names \['kat'\].*\['cat', 'dog'\]"):
        ANIMALS.prices({"cat": {"kat": 3.0}})
