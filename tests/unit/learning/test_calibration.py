import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit, logit

from include.learning.calibration import CALIBRATIONS, Affine, Logistic, Temperature, calibration_of, fit
from include.learning.scoring import resampled

DAYS = np.repeat([f"2020-01-{day:02}" for day in range(1, 29)], 300)
DICE = np.random.default_rng(1)
ODDS = DICE.normal(-1, 1.5, len(DAYS))
CLASSES = DICE.dirichlet([2.0, 2.0, 1.0], len(DAYS))


def measured(metric, labels, predictions):
    return resampled(metric, labels, predictions, np.zeros(len(labels), dtype=np.intp), np.ones((1, 1)))[0]


def binary_labels(odds):
    return (np.random.default_rng(2).random(len(odds)) < expit(odds)).astype(float)


def test_a_moved_base_rate_and_too_sharp_odds_are_found_again():
    found = fit("binary", binary_labels(0.6 * ODDS + 0.8), expit(ODDS), DAYS, doubt_days=0)
    assert (found.slope, found.intercept) == (pytest.approx(0.6, abs=0.05), pytest.approx(0.8, abs=0.07))


def test_classes_that_became_likelier_are_found_again():
    biased = CLASSES * np.exp([0.0, 1.0, -0.5])
    chances = biased / biased.sum(axis=1, keepdims=True)
    labels = (DICE.random((len(DAYS), 1)) > chances.cumsum(axis=1)).sum(axis=1)
    found = fit("multiclass", labels, CLASSES, DAYS, doubt_days=0)
    assert found.sharpness == pytest.approx(1, abs=0.1)
    assert np.subtract(found.biases, found.biases[0]) == pytest.approx([0, 1, -0.5], abs=0.12)


def test_a_scaled_and_shifted_number_is_found_again():
    predicted = DICE.normal(100, 20, len(DAYS))
    found = fit("regression", 1.5 * predicted - 10 + DICE.normal(0, 5, len(DAYS)), predicted, DAYS, doubt_days=0)
    assert (found.slope, found.intercept) == (pytest.approx(1.5, abs=0.02), pytest.approx(-10, abs=2))


def test_a_class_that_the_model_does_not_know_and_one_that_does_not_occur_leave_no_mark():
    labels = np.where(DICE.random(len(DAYS)) < 0.1, -1, DICE.integers(0, 2, len(DAYS)))
    found = fit("multiclass", labels, CLASSES, DAYS, doubt_days=0)
    assert found.biases[2] == 0
    assert np.isfinite(found.apply(CLASSES)).all()


def test_the_fewer_the_days_the_nearer_to_no_change():
    labels = binary_labels(ODDS + 1)
    few, many = (fit("binary", labels[:rows], expit(ODDS[:rows]), DAYS[:rows], doubt_days=7) for rows in (300, 8400))
    assert 0 < few.intercept < 0.3 < many.intercept < 1


def test_days_count_alike_however_many_rows_they_have():
    days = np.array(["a"] * 9000 + ["b"] * 1000)
    labels = np.concatenate([np.tile([1, 0], 4500), np.tile([1, 0, 0, 0], 250)])
    found = fit("binary", labels, np.full(len(days), 0.5), days, doubt_days=0)
    assert found.apply(np.array([0.5])) == pytest.approx(0.375, abs=0.01)


def test_labels_all_alike_and_a_constant_answer_give_finite_corrections():
    ones = np.ones(300)
    assert np.isfinite(
        fit("binary", ones, np.full(300, 0.9), DAYS[:300], doubt_days=3).apply(np.array([0.0, 1.0]))
    ).all()
    assert fit("regression", ones, np.full(300, 4.0), DAYS[:300], doubt_days=0).apply(np.array([4.0])) == pytest.approx(
        1
    )


@pytest.mark.parametrize("calibration", [Logistic(0.8, 0.3), Temperature(1.2, (0.0, 0.5, -1.0)), Affine(2.0, 1.0)])
def test_a_manifest_remembers_a_correction(calibration):
    assert calibration_of(calibration.as_dict()) == calibration


@given(st.sampled_from(sorted(CALIBRATIONS)), st.lists(st.floats(0.001, 0.998), min_size=3, max_size=3))
def test_no_correction_changes_nothing(task, values):
    predictions = np.array([values]) / sum(values) if task == "multiclass" else np.array(values)
    assert CALIBRATIONS[task]().apply(predictions) == pytest.approx(predictions, abs=1e-5)


@settings(deadline=None)
@given(st.floats(0.3, 3), st.floats(-2, 2), st.integers(0, 2**31))
def test_a_fitted_correction_never_loses_on_its_own_rows(slope, shift, seed):
    odds = np.random.default_rng(seed).normal(0, 2, 600)
    labels = (np.random.default_rng(seed + 1).random(600) < expit(slope * odds + shift)).astype(float)
    corrected = fit("binary", labels, expit(odds), DAYS[:600], doubt_days=0).apply(expit(odds))
    assert measured("log_loss", labels, corrected) <= measured("log_loss", labels, expit(odds)) + 1e-6


def test_order_is_kept_so_that_auc_does_not_move():
    labels = binary_labels(ODDS)
    corrected = Logistic(0.5, 1.0).apply(expit(ODDS))
    assert measured("auc", labels, corrected) == measured("auc", labels, expit(ODDS))
    assert logit(corrected) == pytest.approx(0.5 * ODDS + 1)
