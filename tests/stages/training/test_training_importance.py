from uuid import uuid4

import numpy as np
import pyarrow as pa
import pytest

from include import artefact
from include.learning.binary import Binary
from include.learning.multiclass import Multiclass
from include.learning.regression import Regression
from include.recipe import Features
from include.training.data import Window
from include.training.importance import importance_of

FEATURES = Features(numeric=["distance"], categorical=["carrier"])


def truth(predictions, rng):
    return rng.random(len(predictions)) < predictions


def coin(predictions, rng):
    return rng.random(len(predictions)) < 0.5


@pytest.fixture
def ask(make_model):
    """Return the importances of a model whose answer is made of the distance alone, on windows with such labels."""

    def run(*labels, task=None, slope=2.0):
        folder, sha256 = make_model(uuid4().hex, slope=slope, task=task)
        session = artefact.load_session(folder, sha256)
        windows = [window(session, label, task or Binary()) for label in labels or (truth,)]
        return importance_of(session, windows, FEATURES, task or Binary())

    return run


def window(session, label, task):
    rng = np.random.default_rng(1)
    columns = {"distance": rng.normal(0, 1, 1400).astype(np.float32), "carrier": rng.choice(["AA", "UA"], 1400)}
    found = label(artefact.predict(session, columns, FEATURES), rng)
    labels = [task.classes[number] for number in found] if task.name == "multiclass" else found.astype(float)
    days = np.repeat([f"2020-01-{day:02}" for day in range(1, 15)], 100)
    return Window(pa.table({"label": labels}), days, columns)


def test_a_column_the_model_uses_has_importance_and_one_it_ignores_has_none(ask):
    importance = ask(truth)

    assert importance["distance"] > 0.1
    assert importance["carrier"] == 0


def test_a_column_that_only_misleads_counts_as_none(ask):
    assert ask(coin)["distance"] == 0


def test_what_is_relied_on_in_any_window_counts(ask):
    assert ask(coin, truth) == ask(truth)


def test_the_same_rows_give_the_same_numbers(ask):
    assert ask() == ask()


def test_every_task_has_importances(ask):
    classes = ask(lambda answers, rng: answers.argmax(axis=1), task=Multiclass(("a", "b", "c")), slope=1.5)
    values = ask(lambda answers, rng: answers + rng.normal(0, 0.1, len(answers)), task=Regression(), slope=4.0)

    assert classes["distance"] > 0.1
    assert values["distance"] == pytest.approx(4 * np.sqrt(2), rel=0.1)  # two independent draws differ by that
    assert (classes["carrier"], values["carrier"]) == (0, 0)
