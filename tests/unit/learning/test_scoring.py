import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as oracle

from include.evaluation import metrics, quality
from include.learning.binary import Binary
from include.learning.metrics import GATE_DEFAULT, GOVERNOR_DEFAULT, METRICS, gain, metrics_of
from include.learning.multiclass import Multiclass
from include.learning.regression import Regression
from include.learning.scoring import resampled
from include.policy import Costs

SEEDS = st.integers(0, 2**31)
CLASSES = Multiclass(("bus", "car", "train"))
PRICES = {"binary": Binary().prices(Costs(false_positive=1, false_negative=5)), "multiclass": CLASSES.prices({})}
EACH = [(task, name) for task in GATE_DEFAULT for name in metrics_of(task, has_costs=task in PRICES)]


def rows(task: str, seed: int, size: int = 120) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    if task == "multiclass":
        labels = random.integers(0, 3, size)
        return labels.astype(float), softmax(random.standard_normal((size, 3)) + 1.5 * np.eye(3)[labels])
    labels = random.integers(0, 2, size).astype(float) if task == "binary" else random.normal(1e5, 3, size)
    noisy = labels + random.normal(0, 1, size)
    return labels, 1 / (1 + np.exp(-noisy)) if task == "binary" else noisy


def softmax(logits: np.ndarray) -> np.ndarray:
    return np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)


@given(SEEDS)
@settings(max_examples=20, deadline=None)
def test_multiclass_metrics_are_those_of_scikit_learn(seed: int) -> None:
    labels, chances = rows("multiclass", seed)
    said = chances.argmax(axis=1)

    found = metrics(CLASSES, labels, chances)

    assert found == pytest.approx(
        {
            "log_loss": oracle.log_loss(labels, chances),
            "accuracy": oracle.accuracy_score(labels, said),
            "macro_f1": oracle.f1_score(labels, said, average="macro"),
        }
    )


@given(SEEDS)
@settings(max_examples=20, deadline=None)
def test_regression_metrics_are_those_of_scikit_learn(seed: int) -> None:
    labels, values = rows("regression", seed)

    found = metrics(Regression(), labels, values)

    assert found == pytest.approx(
        {
            "r2": oracle.r2_score(labels, values),
            "rmse": oracle.root_mean_squared_error(labels, values),
            "mae": oracle.mean_absolute_error(labels, values),
        }
    )


@pytest.mark.parametrize(("task", "metric"), EACH)
@given(seed=SEEDS)
@settings(max_examples=10, deadline=None)
def test_a_resample_is_measured_as_the_rows_it_repeats(task: str, metric: str, seed: int) -> None:
    labels, predictions = rows(task, seed)
    blocks = np.arange(len(labels)) % 6
    weights = np.random.default_rng(seed).integers(0, 3, 6)
    weights[0] += 1
    order = np.repeat(np.arange(len(labels)), weights[blocks])
    prices = PRICES.get(task)

    found = resampled(metric, labels, predictions, blocks, weights[None, :].astype(float), prices)[0]

    assert found == pytest.approx(quality(metric, labels[order], predictions[order], prices), nan_ok=True)


@pytest.mark.parametrize(("task", "metric"), EACH)
def test_the_truth_is_better_than_a_guess_in_every_metric_s_own_direction(task: str, metric: str) -> None:
    labels, guess = rows(task, 0)
    truth = np.eye(3)[labels.astype(int)] if task == "multiclass" else labels

    new, old = (quality(metric, labels, found, PRICES.get(task)) for found in (truth, guess))

    assert gain(metric, new, old) > 0 > gain(metric, old, new)


def test_defaults_are_metrics_of_their_task() -> None:
    for defaults in (GATE_DEFAULT, GOVERNOR_DEFAULT):
        assert all(task in METRICS[name].tasks for task, name in defaults.items())


@given(st.floats(0.1, 10), st.floats(0.1, 10), SEEDS)
@settings(max_examples=30, deadline=None)
def test_the_answer_that_is_expected_to_cost_least_is_yes_from_a_threshold_on(
    false_positive: float, false_negative: float, seed: int
) -> None:
    labels, chances = rows("binary", seed)
    yes = chances > false_positive / (false_positive + false_negative)
    by_hand = np.where(labels == 1, ~yes * false_negative, yes * false_positive).mean()

    costs = Costs(false_positive=false_positive, false_negative=false_negative)

    assert quality("cost", labels, chances, Binary().prices(costs)) == pytest.approx(by_hand)


def test_a_class_with_a_price_is_answered_more_carefully() -> None:
    chances = np.array([[0.6, 0.4, 0.0]])

    prices = CLASSES.prices({"car": {"bus": 9.0}})

    assert quality("cost", np.array([1.0]), chances, CLASSES.prices({})) == 1.0
    assert quality("cost", np.array([1.0]), chances, prices) == 0.0
