"""Repairs, played many times: what pays where nothing has moved, and what the gate makes of equal models."""

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit, logit

from include.evaluation import gate
from include.learning.kinds import KINDS
from include.policy import Gate
from include.repairs.estimate import Answers, Labelled, levelled
from tests.predictions import ODDS, POLICY, promised, rows_of


@given(st.integers(0, 30))
@settings(max_examples=15, deadline=None)
def test_where_nothing_has_moved_nothing_dear_pays(seed):
    equal = Answers(expit(ODDS), "2019-12-20")
    found = promised(rows_of(ODDS, seed), expit(ODDS), former={1: equal}, scout=equal)

    assert not found["reinstate"].pays
    assert not found["retrain"].pays
    assert found["recalibrate"].share < 0.02


LEVEL_FREE = Gate(metric="log_loss", margin=0.02)


def blurred(seed: int, noise: float) -> np.ndarray:
    random = np.random.default_rng(seed)
    return expit((ODDS + 1 + noise * random.standard_normal(len(ODDS))) / (1 + noise**2) - 1)


def verdict_of(rows: Labelled, new: np.ndarray, old: np.ndarray):
    answers = levelled(rows, (new, old), LEVEL_FREE, POLICY)
    return gate(KINDS["binary"].learn(pa.array([True, False])), rows.labels, *answers, rows.days, policy=LEVEL_FREE)


@given(st.integers(0, 2**31), st.floats(-1.5, 1.5), st.floats(-1.5, 1.5))
@settings(max_examples=15, deadline=None)
def test_whatever_the_level_a_clearly_worse_model_never_passes_and_a_clearly_better_one_does(seed, mine, theirs):
    rows = rows_of(ODDS, seed)
    good, bad = blurred(seed, 0.3), blurred(seed + 1, 2)

    assert verdict_of(rows, expit(logit(good) + mine), expit(logit(bad) + theirs)).passed
    assert not verdict_of(rows, expit(logit(bad) + mine), expit(logit(good) + theirs)).passed


def test_of_equal_models_at_most_half_pass_and_a_good_share_does():
    passed = [
        verdict_of(rows_of(ODDS, seed), blurred(2 * seed, 0.4), blurred(2 * seed + 1, 0.4)).passed for seed in range(40)
    ]

    assert 0.25 < np.mean(passed) < 0.7
