import numpy as np
import pyarrow as pa
import pytest
from scipy.special import expit, softmax

from include.learning.binary import Binary
from include.learning.multiclass import Multiclass
from include.learning.regression import Regression
from include.recipe import Features, Text
from include.training.data import Window
from include.training.importance import importance_of
from include.training.preprocessing import fit_preprocessor

FEATURES = Features(numeric=["distance"], categorical=["carrier"], text={"note": Text(words=5, length=3)})
RANDOM = np.random.default_rng(1)
COLUMNS = {
    "distance": RANDOM.normal(0, 1, 1400).astype(np.float32),
    "carrier": RANDOM.choice(["AA", "UA"], 1400).astype(object),
    "note": RANDOM.choice(["late again", "in time", "", "late late late late"], 1400).astype(object),
}
PREPROCESSOR = fit_preprocessor(COLUMNS, FEATURES)
ANSWERS = {
    "binary": lambda score: expit(2 * score),
    "multiclass": lambda score: softmax(score[:, np.newaxis] * [-1.5, 0, 1.5], axis=1),
    "regression": lambda score: 4 * score,
}


def truth(predictions, rng):
    return rng.random(len(predictions)) < predictions


def coin(predictions, rng):
    return rng.random(len(predictions)) < 0.5


def ask(*labels, task=None, score=lambda matrix: matrix[:, 0]):
    """Return the importances of a model whose answer is made of the distance alone, on windows with such labels."""
    task = task or Binary()

    def predict(matrix):
        return ANSWERS[task.name](score(matrix)).astype(np.float32)

    windows = [window(predict, label, task) for label in labels or (truth,)]
    return importance_of(predict, PREPROCESSOR, windows, task)


def window(predict, label, task):
    found = label(predict(PREPROCESSOR.transform(COLUMNS)), np.random.default_rng(1))
    labels = [task.classes[number] for number in found] if task.name == "multiclass" else found.astype(float)
    days = np.repeat([f"2020-01-{day:02}" for day in range(1, 15)], 100)
    return Window(pa.table({"label": labels}), days, COLUMNS)


def test_a_column_the_model_uses_has_importance_and_one_it_ignores_has_none():
    importance = ask(truth)

    assert importance["distance"] > 0.1
    assert (importance["carrier"], importance["note"]) == (0, 0)


def test_a_texts_words_are_shuffled_together():
    number_of_words = ask(truth, score=lambda matrix: (matrix[:, 2:] > 0).sum(axis=1) - 1.5)

    assert number_of_words["note"] > 0.1
    assert (number_of_words["distance"], number_of_words["carrier"]) == (0, 0)


def test_a_column_that_only_misleads_counts_as_none():
    assert ask(coin)["distance"] == 0


def test_what_is_relied_on_in_any_window_counts():
    assert ask(coin, truth) == ask(truth)


def test_the_same_rows_give_the_same_numbers():
    assert ask() == ask()


def test_every_task_has_importances():
    classes = ask(lambda answers, rng: answers.argmax(axis=1), task=Multiclass(("a", "b", "c")))
    values = ask(lambda answers, rng: answers + rng.normal(0, 0.1, len(answers)), task=Regression())

    assert classes["distance"] > 0.1
    assert values["distance"] == pytest.approx(4 * np.sqrt(2), rel=0.1)  # two independent draws differ by that
    assert (classes["carrier"], values["carrier"]) == (0, 0)
