from uuid import uuid4

import numpy as np
import pytest

from include import artefact
from include.learning.binary import Binary
from include.learning.multiclass import Multiclass
from include.learning.regression import Regression
from include.pipeline import Features
from include.training.importance import importance_of

FEATURES = Features(numeric=["distance"], categorical=["carrier"])


@pytest.fixture
def ask(make_model):
    """Return the importances of a model whose answer is made of the distance alone, on labels made by it."""

    def run(task=None, slope=2.0, label=lambda predictions, rng: rng.random(len(predictions)) < predictions):
        rng = np.random.default_rng(1)
        columns = {"distance": rng.normal(0, 1, 1400).astype(np.float32), "carrier": rng.choice(["AA", "UA"], 1400)}
        folder, sha256 = make_model(uuid4().hex, slope=slope, task=task)
        session = artefact.load_session(folder, sha256)
        labels = label(artefact.predict(session, columns, FEATURES), rng).astype(float)
        days = np.repeat([f"2020-01-{day:02}" for day in range(1, 15)], 100)
        return importance_of(session, columns, labels, days, FEATURES, task or Binary())

    return run


def test_a_column_the_model_uses_has_importance_and_one_it_ignores_has_none(ask):
    importance = ask()

    assert importance["distance"] > 0.1
    assert importance["carrier"] == 0


def test_a_column_that_only_misleads_counts_as_none(ask):
    assert ask(label=lambda predictions, rng: rng.random(len(predictions)) < 0.5)["distance"] == 0


def test_the_same_rows_give_the_same_numbers(ask):
    assert ask() == ask()


def test_every_task_has_importances(ask):
    classes = ask(Multiclass(("a", "b", "c")), 1.5, lambda predictions, rng: predictions.argmax(axis=1))
    values = ask(Regression(), 4.0, lambda predictions, rng: predictions + rng.normal(0, 0.1, len(predictions)))

    assert classes["distance"] > 0.1
    assert values["distance"] == pytest.approx(4 * np.sqrt(2), rel=0.1)  # two independent draws differ by that
    assert (classes["carrier"], values["carrier"]) == (0, 0)
