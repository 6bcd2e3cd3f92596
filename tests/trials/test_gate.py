"""The gate, played hundreds of times: how often chance alone lets a challenger pass, or stops it."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from include.evaluation import gate, paired_interval, worse_slices
from include.learning.binary import Binary
from include.policy import Gate
from tests.predictions import model, nights

BINARY = Binary()
POLICY = Gate()


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


def test_days_that_go_together_give_a_wider_interval_than_rows_would() -> None:
    labels, signal, days, _ = nights(2, rows=2000)
    by_day = signal + np.random.default_rng(5).normal(0, 1, 14)[days]  # A model that is lucky or unlucky by the day.

    blocks = paired_interval(labels, by_day, signal, days, policy=POLICY)
    single = paired_interval(labels, by_day, signal, np.arange(len(labels)), policy=POLICY)

    assert blocks.high - blocks.low > 1.5 * (single.high - single.low)


@pytest.mark.parametrize("metric", ["auc", "log_loss"])
def test_of_equal_challengers_at_most_half_pass_and_a_good_share_does(metric: str) -> None:
    # Equal in worth, not in every prediction: which of the two is ahead is chance, so half are stopped by `min_gain`.
    policy = Gate(metric=metric)
    passed = []
    for seed in range(150):
        labels, signal, days, random = nights(seed)
        pair = [model(signal, random, noise=0.4) for _ in range(2)]
        passed.append(gate(BINARY, labels, *pair, days, policy=policy).passed)

    assert 0.3 < np.mean(passed) < 0.6


def test_an_equal_challenger_is_not_vetoed_by_the_margin() -> None:
    policy = Gate(min_gain=-0.02)
    vetoed = []
    for seed in range(100):
        labels, signal, days, random = nights(seed)
        pair = [model(signal, random, noise=0.2) for _ in range(2)]
        vetoed.append(not gate(BINARY, labels, *pair, days, policy=policy).passed)

    assert np.mean(vetoed) < 0.1


def test_however_many_slices_there_are_chance_seldom_vetoes() -> None:
    policy = Gate(min_slice_rows=100)
    vetoed = []
    for seed in range(60):
        labels, signal, days, random = nights(seed)
        pair = [model(signal, random, noise=0.4) for _ in range(2)]
        slices = {"carrier": random.choice(list("abcdefghijkl"), len(labels))}
        vetoed.append(bool(worse_slices(BINARY, labels, *pair, days, policy=policy, slices=slices)))

    assert np.mean(vetoed) < 0.15
