import numpy as np
import pytest
from scipy.special import expit, softmax

from include.evaluation import quality
from include.learning.binary import Binary
from include.learning.multiclass import Multiclass
from include.learning.regression import Regression
from include.monitoring.estimation import Holdout, error_of, estimate

DAYS = np.repeat([f"2020-01-{day:02}" for day in range(1, 11)], 300)
CLASSES = Multiclass(("a", "b", "c"))


def binary(rng, size=3000, shift=0.0):
    odds = rng.normal(-1 + shift, 1.2, size)
    return (rng.random(size) < expit(odds)).astype(float), expit(odds)


def multiclass(rng, size=3000, shift=0.0):
    chances = softmax(rng.normal(0, 1.5, (size, 3)) + [shift, 0, 0], axis=1)
    return (rng.random(size)[:, None] > chances.cumsum(axis=1)).sum(axis=1).astype(float), chances


def regression(rng, size=3000, shift=0.0):
    values = rng.normal(100 + 20 * shift, 20, size)
    return values + rng.normal(0, 5, size), values


def holdout_of(task, make, seed=0, change=lambda predictions: predictions):
    labels, predictions = make(np.random.default_rng(seed))
    return Holdout(task, labels, change(predictions), DAYS)


@pytest.mark.parametrize(
    ("task", "make", "tolerances"),
    [
        (Binary(), binary, {"log_loss": 0.03, "brier": 0.01, "accuracy": 0.02, "auc": 0.02}),
        (CLASSES, multiclass, {"log_loss": 0.03, "accuracy": 0.02, "macro_f1": 0.03}),
        (Regression(100.0, 20.0), regression, {"rmse": 0.3, "mae": 0.3, "r2": 0.02}),
    ],
    ids=["binary", "multiclass", "regression"],
)
def test_the_estimate_is_near_the_truth_also_where_the_rows_have_moved(task, make, tolerances):
    labels, predictions = make(np.random.default_rng(5), shift=0.5)

    found = estimate(holdout_of(task, make), predictions)

    assert found["state"] == "known"
    for metric, tolerance in tolerances.items():
        assert found[metric] == pytest.approx(quality(metric, labels, predictions), abs=tolerance), metric
        low, high = found["ranges"][metric]
        assert low < found[metric] < high


def test_the_estimated_log_loss_is_the_expected_one():
    _, predictions = binary(np.random.default_rng(5))

    found = estimate(holdout_of(Binary(), binary, seed=1), predictions)

    expected = -(predictions * np.log(predictions) + (1 - predictions) * np.log(1 - predictions)).mean()
    assert found["log_loss"] == pytest.approx(expected, abs=0.01)


def test_answers_that_were_too_sure_on_the_holdout_are_not_believed():
    def too_sure(predictions):
        return expit(3 * np.log(predictions / (1 - predictions)))

    labels, predictions = binary(np.random.default_rng(5))

    found = estimate(holdout_of(Binary(), binary, change=too_sure), too_sure(predictions))

    assert found["log_loss"] == pytest.approx(quality("log_loss", labels, too_sure(predictions)), abs=0.05)


def test_a_changed_world_that_no_answer_shows_is_not_seen():
    labels, predictions = binary(np.random.default_rng(5))
    changed = 1 - labels

    found = estimate(holdout_of(Binary(), binary), predictions)

    assert quality("log_loss", changed, predictions) - found["log_loss"] > 0.5


def test_a_price_is_estimated_too():
    prices = np.array([[0.0, 1.0], [5.0, 0.0]])
    labels, predictions = binary(np.random.default_rng(5))

    found = estimate(holdout_of(Binary(), binary), predictions, prices)

    assert found["cost"] == pytest.approx(quality("cost", labels, predictions, prices), abs=0.05)


@pytest.mark.parametrize(
    ("labels", "rows", "why"),
    [(np.zeros(3000), 10, "1 of the two classes"), (None, 0, "no rows")],
)
def test_what_cannot_be_estimated_is_unknown(labels, rows, why):
    known = holdout_of(Binary(), binary)
    holdout = known if labels is None else Holdout(known.task, labels, known.predictions, known.days)

    found = estimate(holdout, known.predictions[:rows])

    assert found["state"] == "unknown"
    assert why in found["why"]


def test_the_same_rows_give_the_same_estimate():
    known = holdout_of(Binary(), binary)

    assert estimate(known, known.predictions[:500]) == estimate(known, known.predictions[:500])


def test_its_own_error_is_estimate_less_truth():
    found = {"state": "known", "auc": 0.7, "log_loss": 0.5, "ranges": {"auc": [0, 1], "log_loss": [0, 1]}}

    assert error_of(found, {"state": "known", "auc": 0.6}) == {"auc": 0.1}
    assert error_of(found, {"state": "unknown"}) == {}
    assert error_of({"state": "unknown"}, {"state": "known", "auc": 0.6}) == {}
