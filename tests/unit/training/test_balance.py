import numpy as np
import pytest

from include.errors import ConfigError
from include.learning.binary import Binary
from include.learning.multiclass import Multiclass
from include.learning.regression import Regression
from include.learning.task import Task
from include.recipe import Features, Training
from include.training.balance import weights_of

LABELS = np.array([0, 0, 0, 1], dtype=np.float32)


def weights(asked: object, task: Task, labels: np.ndarray = LABELS) -> list[float]:
    training = Training(target="late", features=Features(numeric=["x"]), task=task.name, class_weights=asked)
    found = weights_of(training, task, labels)
    assert found is not None
    return found.tolist()


def test_balanced_classes_weigh_the_same_in_all() -> None:
    zero, one = weights("balanced", Binary())

    assert 3 * zero == pytest.approx(one)
    assert 3 * zero + one == pytest.approx(4)


def test_named_classes_weigh_what_they_are_said_to() -> None:
    a, b, c = weights({"b": 3.0}, Multiclass(("a", "b", "c")), np.array([0, 1, 2], dtype=np.float32))

    assert (b / a, b / c) == (pytest.approx(3), pytest.approx(3))


def test_without_a_wish_all_count_the_same() -> None:
    assert weights_of(Training(target="late", features=Features(numeric=["x"])), Binary(), LABELS) is None


def test_a_class_that_is_none_is_named() -> None:
    with pytest.raises(ConfigError, match=r"names \['yes'\]\. Classes of these data: \['false', 'true'\]"):
        weights({"yes": 2.0}, Binary())


def test_values_have_no_classes() -> None:
    with pytest.raises(ConfigError, match="regression, which has none"):
        weights("balanced", Regression())
