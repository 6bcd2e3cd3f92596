from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from scipy.special import expit, logit

from include.evaluation import gate
from include.learning.kinds import KINDS
from include.policy import Gate, Repairs
from include.repairs.estimate import (
    Answers,
    Estimate,
    Labelled,
    choose,
    corrected_by_others,
    estimate,
    recalibration_gate,
)
from tests.predictions import DAYS, ODDS, POLICY, promised, rows_of

DICE = np.random.default_rng(1)


def test_a_moved_level_is_worth_a_recalibration():
    found = promised(rows_of(ODDS), expit(ODDS + 0.7))["recalibrate"]

    assert found.pays
    assert found.low > 0
    assert found.share == pytest.approx(1 - found.loss / found.now)
    assert (found.days, found.rows) == (14, len(DAYS))


def test_order_that_was_lost_is_worth_a_training_or_a_former_champion_that_has_it():
    blurred = expit(0.3 * ODDS + DICE.normal(0, 0.7, len(ODDS)))
    knows = Answers(expit(ODDS), "2019-12-20")
    found = promised(rows_of(ODDS), blurred, former={3: knows}, scout=knows)

    assert found["retrain"].pays
    assert found["reinstate"].pays
    assert found["reinstate"].version == 3
    assert found["retrain"].share - found["retrain"].beyond > found["recalibrate"].share


def test_what_the_quick_learner_is_better_at_anyway_is_no_reason_to_train():
    blurred, knows = expit(0.3 * ODDS), Answers(expit(ODDS), "2019-12-20")
    rows = rows_of(ODDS)
    own = promised(rows, blurred + 0.01 * DICE.random(len(ODDS)), scout=knows)["retrain"]

    less = promised(rows, blurred, scout=knows, handicap=max(0.0, own.share - own.beyond))["retrain"]

    assert not less.pays


def test_whoever_has_learned_from_these_days_is_not_asked():
    knows_the_answers = Answers(expit(ODDS), "2020-01-03")

    found = promised(rows_of(ODDS), expit(ODDS), former={1: knows_the_answers}, scout=knows_the_answers)

    assert set(found) == {"recalibrate"}


def test_of_few_days_nothing_is_said():
    few = slice(0, 1200)
    rows = Labelled("binary", rows_of(ODDS).labels[few], DAYS[few])

    assert estimate(rows, Answers(expit(ODDS[few]), ""), expit(ODDS[few]), POLICY, former={}) == []


def test_a_repair_that_the_yaml_leaves_out_is_not_estimated():
    knows = Answers(expit(ODDS), "2019-12-20")
    policy = Repairs(recalibrate=None, reinstate=None)
    now = expit(ODDS + 0.7)

    (found,) = estimate(rows_of(ODDS), Answers(now, ""), now, policy, former={1: knows}, scout=knows)

    assert (found.action, found.beyond) == ("retrain", 0)


def test_no_day_is_corrected_by_its_own_labels():
    rows = rows_of(ODDS + 1)
    last = rows.rows("2020-01-14", "2020-01-14")
    upside_down = rows.labels.copy()
    upside_down[last] = 1 - upside_down[last]

    first, second = (
        corrected_by_others(replace(rows, labels=labels), expit(ODDS), 3) for labels in (rows.labels, upside_down)
    )

    assert (first[last] == second[last]).all()
    assert (logit(first) > ODDS).mean() > 0.99


PAYS = Estimate("recalibrate", None, 0.02, 0.01, 0.03, 0.49, 0.5, 14, 900, 0.005)


def test_the_repair_that_gains_most_beyond_its_toll_is_chosen_among_those_allowed():
    dear = replace(PAYS, action="retrain", share=0.06, toll=0.03)
    unsure = replace(PAYS, action="reinstate", version=1, share=0.2, low=-0.01)

    assert choose([PAYS, dear, unsure], {}) == dear
    assert choose([PAYS, dear, unsure], {"retrain": "Cooldown"}) == PAYS
    assert choose([unsure], {}) is None
    assert choose([replace(PAYS, share=0.004)], {}) is None
    assert choose([replace(dear, beyond=0.04)], {}) is None  # recalibrating brings most of it


@pytest.mark.parametrize(
    ("moves", "released"),
    [
        ([0.1, 0.1, -0.16], True),  # days on which it loses make its interval reach below nought: still a gain
        ([0.9, 0.9, -1.6], False),  # a gain in the mean that some days pay for with a lot
        ([-0.02], False),
    ],
)
def test_a_recalibration_needs_to_gain_but_not_to_be_sure_of_it(moves, released):
    task = KINDS["regression"].learn(pa.array([0.0, 1.0]))
    labels, old = np.resize([-1.0, 1.0], len(DAYS)), np.zeros(len(DAYS))
    new = labels * np.repeat(np.resize(moves, 14), 400)
    policy = recalibration_gate(Gate(metric="r2", min_gain=0.2), "regression", 1.0)

    verdict = gate(task, labels, new, old, DAYS, policy=policy)

    assert verdict.metric == "rmse"
    assert verdict.interval[0] < 0
    assert verdict.passed == released
