"""Predictions that are as good, and days that are as unlike, as a test wants them."""

import numpy as np
from scipy.special import expit

from include.policy import Repairs
from include.repairs.estimate import Answers, Estimate, Labelled, estimate

DAYS = np.repeat([f"2020-01-{day:02}" for day in range(1, 15)], 400)
DICE = np.random.default_rng(0)
ODDS = DICE.normal(-1, 1, len(DAYS))
POLICY = Repairs()


def rows_of(odds: np.ndarray, seed: int = 1) -> Labelled:
    chances = expit(odds + np.repeat(np.random.default_rng(seed).normal(0, 0.2, 14), 400))
    return Labelled("binary", (np.random.default_rng(seed).random(len(odds)) < chances).astype(float), DAYS)


def promised(rows: Labelled, champion: np.ndarray, **others) -> dict[str, Estimate]:
    known = {"former": {}, "scout": None, **others}
    found = estimate(rows, Answers(champion, "2019-12-31"), champion, POLICY, **known)
    return {each.action: each for each in found}


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
