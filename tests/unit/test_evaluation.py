from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import brier_score_loss, log_loss, roc_auc_score

from include.evaluation import gate, metrics, paired_interval
from include.learning.binary import Binary
from include.learning.multiclass import Multiclass
from include.learning.regression import Regression
from include.policy import Gate
from tests.predictions import model, nights

BINARY = Binary()
POLICY = Gate()
SEEDS = st.integers(0, 2**31)


@given(SEEDS)
@settings(max_examples=20, deadline=None)
def test_metrics_agree_with_scikit_learn_with_ties_too(seed: int) -> None:
    labels, signal, _, random = nights(seed, rows=300)
    predictions = np.round(model(signal, random, noise=0.5), 1).clip(0.05, 0.95)

    found = metrics(BINARY, labels, predictions)

    assert found["auc"] == pytest.approx(roc_auc_score(labels, predictions))
    assert found["log_loss"] == pytest.approx(log_loss(labels, predictions))
    assert found["brier"] == pytest.approx(brier_score_loss(labels, predictions))


@pytest.mark.parametrize("metric", ["auc", "log_loss"])
def test_better_is_a_positive_gain_in_either_metric(metric: str) -> None:
    labels, signal, days, random = nights(1)

    found = paired_interval(
        labels, model(signal, random, noise=0.1), model(signal, random, noise=2), days, policy=Gate(metric=metric)
    )

    assert 0 < found.low < found.gain < found.high


@given(SEEDS)
@settings(max_examples=25, deadline=None)
def test_a_clearly_worse_challenger_never_passes(seed: int) -> None:
    labels, signal, days, random = nights(seed)

    verdict = gate(
        Binary(), labels, model(signal, random, noise=2), model(signal, random, noise=0.3), days, policy=POLICY
    )

    assert not verdict.passed


@given(SEEDS)
@settings(max_examples=25, deadline=None)
def test_a_clearly_better_challenger_passes(seed: int) -> None:
    labels, signal, days, random = nights(seed)

    verdict = gate(
        Binary(), labels, model(signal, random, noise=0.3), model(signal, random, noise=2), days, policy=POLICY
    )

    assert verdict.passed, verdict.reason


@given(SEEDS)
@settings(max_examples=20, deadline=None)
def test_the_very_same_predictions_gain_nothing_and_do_not_pass(seed: int) -> None:
    labels, signal, days, random = nights(seed, rows=500)
    predictions = model(signal, random, noise=0.3)

    verdict = gate(BINARY, labels, predictions, predictions.copy(), days, policy=POLICY)

    assert (verdict.passed, verdict.gain, verdict.interval) == (False, 0.0, (0.0, 0.0))


@pytest.mark.parametrize("metric", ["auc", "log_loss"])
def test_the_first_model_must_beat_the_base_rate(metric: str) -> None:
    labels, signal, days, random = nights(4)
    policy = Gate(metric=metric)

    good = gate(BINARY, labels, model(signal, random, noise=0.3), None, days, policy=policy)
    guess = gate(BINARY, labels, random.random(len(labels)), None, days, policy=policy)
    constant = gate(BINARY, labels, np.full(len(labels), 0.2), None, days, policy=policy)

    assert good.passed
    assert good.champion is None
    assert not guess.passed
    assert not constant.passed


def test_row_order_and_the_names_of_days_change_nothing() -> None:
    labels, signal, days, random = nights(6)
    new, old = model(signal, random, noise=0.4), model(signal, random, noise=0.5)
    order = random.permutation(len(labels))

    straight = gate(BINARY, labels, new, old, days, policy=POLICY)
    shuffled = gate(
        Binary(), labels[order], new[order], old[order], np.char.add("day", days.astype(str))[order], policy=POLICY
    )

    assert shuffled.passed == straight.passed
    assert shuffled.gain == pytest.approx(straight.gain)
    assert shuffled.days == straight.days == 14


@pytest.mark.parametrize(
    ("break_it", "said"),
    [
        (
            lambda labels, new, old, days: (labels, np.where(days == 3, np.nan, new), old, days),
            "challenger cannot be measured",
        ),
        (
            lambda labels, new, old, days: (labels, new, np.where(days == 3, np.inf, old), days),
            "champion cannot be measured",
        ),
        (lambda labels, new, old, days: (np.zeros_like(labels), new, old, days), "1 of the two classes"),
        (lambda labels, new, old, days: (labels, new, old, np.zeros_like(days)), "single day"),
        (lambda labels, new, old, days: (labels[:0], new[:0], old[:0], days[:0]), "0 of the two classes"),
    ],
)
def test_what_cannot_be_measured_is_refused_with_the_reason(break_it, said: str) -> None:
    labels, signal, days, random = nights(7, rows=500)
    broken = break_it(labels, model(signal, random, noise=0.4), model(signal, random, noise=0.5), days)

    verdict = gate(BINARY, *broken, policy=POLICY)

    assert not verdict.passed
    assert said in verdict.reason
    assert verdict.as_dict()["interval"] is None


def test_the_reason_holds_the_numbers() -> None:
    labels, signal, days, random = nights(8)

    verdict = gate(
        Binary(), labels, model(signal, random, noise=0.2), model(signal, random, noise=2), days, policy=POLICY
    )

    assert f"{verdict.challenger:.4f}" in verdict.reason
    assert f"{verdict.champion:.4f}" in verdict.reason
    assert "4000 rows of 14 days" in verdict.reason


def test_metrics_of_one_class_are_refused() -> None:
    with pytest.raises(ValueError, match="1 of the two classes"):
        metrics(BINARY, np.ones(3), np.full(3, 0.5))


def several(seed: int, *, days: int = 14, rows: int = 3000) -> tuple[np.ndarray, np.ndarray, np.ndarray, Any]:
    """Return labels of three classes, the logits that made them, days, and the generator."""
    random = np.random.default_rng(seed)
    logits = 1.5 * random.standard_normal((rows, 3))
    labels = (logits + random.gumbel(size=logits.shape)).argmax(axis=1).astype(float)
    return labels, logits, np.sort(random.integers(0, days, rows)), random


def chances(logits: np.ndarray, random: np.random.Generator, *, noise: float) -> np.ndarray:
    found = np.exp(logits + noise * random.standard_normal(logits.shape))
    return found / found.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("metric", ["log_loss", "accuracy", "macro_f1", "cost"])
def test_the_better_of_two_multiclass_models_passes_and_the_worse_does_not(metric: str) -> None:
    labels, logits, days, random = several(0)
    good, bad = (chances(logits, random, noise=noise) for noise in (0.1, 2))
    task, policy = Multiclass(("a", "b", "c")), Gate(metric=metric, costs={"a": {"b": 4.0}})

    assert gate(task, labels, good, bad, days, policy=policy).passed
    assert gate(task, labels, good, None, days, policy=policy).passed
    assert not gate(task, labels, bad, good, days, policy=policy).passed
    assert not gate(task, labels, task.constant(labels), None, days, policy=policy).passed


@pytest.mark.parametrize("metric", ["rmse", "mae", "r2"])
def test_the_better_of_two_regressions_passes_and_the_worse_does_not(metric: str) -> None:
    random = np.random.default_rng(0)
    labels, days = random.normal(1000, 50, 2000), np.arange(2000) % 14
    good, bad = (labels + random.normal(0, noise, 2000) for noise in (10, 30))
    policy = Gate(metric=metric)

    assert gate(Regression(), labels, good, bad, days, policy=policy).passed
    assert gate(Regression(), labels, good, None, days, policy=policy).passed
    assert not gate(Regression(), labels, bad, good, days, policy=policy).passed
    assert not gate(Regression(), labels, np.full(2000, labels.mean()), None, days, policy=policy).passed


def test_a_slice_that_gets_clearly_worse_vetoes_what_is_better_on_the_whole() -> None:
    labels, signal, days, random = nights(9)
    carrier = np.where(np.arange(len(labels)) % 4 == 0, "UA", "AA")
    new = np.where(carrier == "UA", model(signal, random, noise=5), model(signal, random, noise=0.1))
    old = model(signal, random, noise=1.5)
    judged = [
        gate(BINARY, labels, new, old, days, policy=policy, slices={"carrier": carrier})
        for policy in (POLICY, Gate(min_slice_rows=2000))
    ]

    vetoed, too_few_rows = judged
    assert (vetoed.passed, [(part.column, part.value) for part in vetoed.worse_slices]) == (False, [("carrier", "UA")])
    assert vetoed.gain > 0
    assert vetoed.reason.startswith("Refused")
    assert "Clearly worse: carrier=UA (auc 0." in vetoed.reason
    assert vetoed.as_dict()["worse_slices"][0]["found"]["high"] < -POLICY.margin
    assert too_few_rows.passed


@given(SEEDS)
@settings(max_examples=15, deadline=None)
def test_a_slice_of_everything_says_what_the_whole_says(seed: int) -> None:
    labels, signal, days, random = nights(seed, rows=800)
    new, old = model(signal, random, noise=2), model(signal, random, noise=0.4)

    verdict = gate(BINARY, labels, new, old, days, policy=POLICY, slices={"all": ["yes"] * len(labels)})

    assert bool(verdict.worse_slices) == (verdict.interval[1] < -POLICY.margin)
