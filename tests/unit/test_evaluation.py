import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import brier_score_loss, log_loss, roc_auc_score

from include.evaluation import gate, metrics, paired_interval
from include.pipeline import Gate

POLICY = Gate()
SEEDS = st.integers(0, 2**31)


def nights(
    seed: int, *, days: int = 14, rows: int = 4000
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.random.Generator]:
    """Return labels, what could be known of them, and days: rows of a day share a mood that no model sees."""
    random = np.random.default_rng(seed)
    day = np.sort(random.integers(0, days, rows))
    signal = random.standard_normal(rows)
    mood = random.normal(0, 0.7, days)[day]
    chance = 1 / (1 + np.exp(1.4 - signal - mood))
    return (random.random(rows) < chance).astype(float), signal, day, random


def model(signal: np.ndarray, random: np.random.Generator, *, noise: float) -> np.ndarray:
    return 1 / (1 + np.exp(1.4 - (signal + noise * random.standard_normal(len(signal))) / (1 + noise**2)))


@given(SEEDS)
@settings(max_examples=20, deadline=None)
def test_metrics_agree_with_scikit_learn_with_ties_too(seed: int) -> None:
    labels, signal, _, random = nights(seed, rows=300)
    predictions = np.round(model(signal, random, noise=0.5), 1).clip(0.05, 0.95)

    found = metrics(labels, predictions)

    assert found["auc"] == pytest.approx(roc_auc_score(labels, predictions))
    assert found["log_loss"] == pytest.approx(log_loss(labels, predictions))
    assert found["brier"] == pytest.approx(brier_score_loss(labels, predictions))


def test_interval_is_the_one_of_resampling_whole_days_row_by_row() -> None:
    labels, signal, days, random = nights(3, days=5, rows=200)
    new, old = model(signal, random, noise=0.4), model(signal, random, noise=0.8)

    found = paired_interval(labels, new, old, days, policy=Gate(resamples=400))

    slow = np.random.default_rng(0)
    gains = []
    for _ in range(300):
        rows = np.concatenate([np.flatnonzero(days == day) for day in slow.integers(0, 5, 5)])
        gains.append(roc_auc_score(labels[rows], new[rows]) - roc_auc_score(labels[rows], old[rows]))
    assert (found.low, found.high) == pytest.approx(np.quantile(gains, [0.05, 0.95]), abs=0.02)
    assert found.gain == pytest.approx(roc_auc_score(labels, new) - roc_auc_score(labels, old))


@pytest.mark.parametrize("metric", ["auc", "log_loss"])
def test_better_is_a_positive_gain_in_either_metric(metric: str) -> None:
    labels, signal, days, random = nights(1)

    found = paired_interval(
        labels, model(signal, random, noise=0.1), model(signal, random, noise=2), days, policy=Gate(metric=metric)
    )

    assert 0 < found.low < found.gain < found.high


def test_days_that_go_together_give_a_wider_interval_than_rows_would() -> None:
    labels, signal, days, _ = nights(2, rows=2000)
    by_day = signal + np.random.default_rng(5).normal(0, 1, 14)[days]  # A model that is lucky or unlucky by the day.

    blocks = paired_interval(labels, by_day, signal, days, policy=POLICY)
    single = paired_interval(labels, by_day, signal, np.arange(len(labels)), policy=POLICY)

    assert blocks.high - blocks.low > 1.5 * (single.high - single.low)


@given(SEEDS)
@settings(max_examples=25, deadline=None)
def test_a_clearly_worse_challenger_never_passes(seed: int) -> None:
    labels, signal, days, random = nights(seed)

    verdict = gate(labels, model(signal, random, noise=2), model(signal, random, noise=0.3), days, policy=POLICY)

    assert not verdict.passed


@given(SEEDS)
@settings(max_examples=25, deadline=None)
def test_a_clearly_better_challenger_passes(seed: int) -> None:
    labels, signal, days, random = nights(seed)

    verdict = gate(labels, model(signal, random, noise=0.3), model(signal, random, noise=2), days, policy=POLICY)

    assert verdict.passed, verdict.reason


@pytest.mark.parametrize("metric", ["auc", "log_loss"])
def test_of_equal_challengers_at_most_half_pass_and_a_good_share_does(metric: str) -> None:
    # Equal in worth, not in every prediction: which of the two is ahead is chance, so half are stopped by `min_gain`.
    policy = Gate(metric=metric)
    passed = []
    for seed in range(150):
        labels, signal, days, random = nights(seed)
        pair = [model(signal, random, noise=0.4) for _ in range(2)]
        passed.append(gate(labels, *pair, days, policy=policy).passed)

    assert 0.3 < np.mean(passed) < 0.6


def test_an_equal_challenger_is_not_vetoed_by_the_margin() -> None:
    policy = Gate(min_gain=-0.02)
    vetoed = []
    for seed in range(100):
        labels, signal, days, random = nights(seed)
        pair = [model(signal, random, noise=0.2) for _ in range(2)]
        vetoed.append(not gate(labels, *pair, days, policy=policy).passed)

    assert np.mean(vetoed) < 0.1


@given(SEEDS)
@settings(max_examples=20, deadline=None)
def test_the_very_same_predictions_gain_nothing_and_do_not_pass(seed: int) -> None:
    labels, signal, days, random = nights(seed, rows=500)
    predictions = model(signal, random, noise=0.3)

    verdict = gate(labels, predictions, predictions.copy(), days, policy=POLICY)

    assert (verdict.passed, verdict.gain, verdict.interval) == (False, 0.0, (0.0, 0.0))


@pytest.mark.parametrize("metric", ["auc", "log_loss"])
def test_the_first_model_must_beat_the_base_rate(metric: str) -> None:
    labels, signal, days, random = nights(4)
    policy = Gate(metric=metric)

    good = gate(labels, model(signal, random, noise=0.3), None, days, policy=policy)
    guess = gate(labels, random.random(len(labels)), None, days, policy=policy)
    constant = gate(labels, np.full(len(labels), 0.2), None, days, policy=policy)

    assert good.passed
    assert good.champion is None
    assert not guess.passed
    assert not constant.passed


def test_row_order_and_the_names_of_days_change_nothing() -> None:
    labels, signal, days, random = nights(6)
    new, old = model(signal, random, noise=0.4), model(signal, random, noise=0.5)
    order = random.permutation(len(labels))

    straight = gate(labels, new, old, days, policy=POLICY)
    shuffled = gate(labels[order], new[order], old[order], np.char.add("day", days.astype(str))[order], policy=POLICY)

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

    verdict = gate(*broken, policy=POLICY)

    assert not verdict.passed
    assert said in verdict.reason
    assert verdict.as_dict()["interval"] is None


def test_the_reason_holds_the_numbers() -> None:
    labels, signal, days, random = nights(8)

    verdict = gate(labels, model(signal, random, noise=0.2), model(signal, random, noise=2), days, policy=POLICY)

    assert f"{verdict.challenger:.4f}" in verdict.reason
    assert f"{verdict.champion:.4f}" in verdict.reason
    assert "4000 rows of 14 days" in verdict.reason


def test_metrics_of_one_class_are_refused() -> None:
    with pytest.raises(ValueError, match="1 of the two classes"):
        metrics(np.ones(3), np.full(3, 0.5))
