"""This file corrects a model's answers without touching the model: a few numbers, fitted on recent labels. All pure."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize
from scipy.special import expit, logit, softmax

from include.learning.metrics import TaskName
from include.learning.scoring import Floats

TINY = 1e-6  # float32's: a probability nearer to 0 or 1 has no finite logit in the exported graph


@dataclass(frozen=True)
class Calibration(ABC):
    """A correction of answers. Its default changes nothing."""

    task: ClassVar[TaskName]

    @classmethod
    @abstractmethod
    def fit(cls, labels: Floats, predictions: Floats, weights: Floats) -> Self:
        """Return the correction with the least weighted loss on these rows."""

    @abstractmethod
    def apply(self, predictions: Floats) -> Floats:
        """Return corrected answers."""

    @abstractmethod
    def shrunk(self, share: float) -> Self:
        """Return that share of the way from "no change" to this correction."""

    def as_dict(self) -> dict[str, Any]:
        """Return the correction as a manifest holds it."""
        return {"task": self.task, **asdict(self)}


@dataclass(frozen=True)
class Logistic(Calibration):
    """Slope and intercept of the log-odds of a binary answer.

    Platt (1999), "Probabilistic outputs for support vector machines".
    """

    task = "binary"

    slope: float = 1.0
    intercept: float = 0.0

    @classmethod
    def fit(cls, labels: Floats, predictions: Floats, weights: Floats) -> Self:
        """Return slope and intercept with the least weighted log-loss."""
        odds = _log_odds(predictions)

        def loss(at: Floats) -> tuple[float, Floats]:
            z = at[0] * odds + at[1]
            error = weights * (expit(z) - labels)
            # Sums, not products of vectors: BLAS wakes all its threads for each of them, which takes 50 times as long.
            return float(np.sum(weights * (np.logaddexp(0, z) - labels * z))), np.array(
                [np.sum(error * odds), error.sum()]
            )

        found = minimize(loss, np.array([1.0, 0.0]), jac=True, method="L-BFGS-B", bounds=[(0.05, 20), (-10, 10)])
        return cls(slope=float(found.x[0]), intercept=float(found.x[1]))

    def apply(self, predictions: Floats) -> Floats:
        """Return corrected probabilities."""
        return np.asarray(expit(self.slope * _log_odds(predictions) + self.intercept))

    def shrunk(self, share: float) -> Self:
        """Return that share of the way from slope 1 and intercept 0."""
        return type(self)(slope=1 + share * (self.slope - 1), intercept=share * self.intercept)


@dataclass(frozen=True)
class Temperature(Calibration):
    """Inverse temperature of a multiclass answer, and a bias per class.

    Guo et al. (2017), "On calibration of modern neural networks", with the bias of their vector scaling.
    """

    task = "multiclass"

    sharpness: float = 1.0
    biases: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "biases", tuple(self.biases))  # a manifest, being JSON, holds a list

    @classmethod
    def fit(cls, labels: Floats, predictions: Floats, weights: Floats) -> Self:
        """Return sharpness and biases with the least weighted log-loss; a class that does not occur keeps bias 0."""
        known = labels >= 0
        number, weights = labels[known].astype(np.intp), weights[known]
        logs, classes = np.log(np.clip(predictions[known], TINY, 1)), predictions.shape[1]
        hot = np.eye(classes)[number]
        occurs = hot.max(axis=0) > 0

        def loss(at: Floats) -> tuple[float, Floats]:
            chances = softmax(at[0] * logs + at[1:], axis=1)
            error = (chances - hot) * weights[:, None]
            value = -float(np.sum(weights * np.log(np.clip(chances[np.arange(len(number)), number], 1e-12, 1))))
            return value, np.concatenate([[float((error * logs).sum())], error.sum(axis=0) * occurs])

        start = np.concatenate([[1.0], np.zeros(classes)])
        bounds = [(0.05, 20.0), *((-10.0, 10.0) if seen else (0.0, 0.0) for seen in occurs)]
        found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds)
        return cls(sharpness=float(found.x[0]), biases=tuple(float(bias) for bias in found.x[1:]))

    def apply(self, predictions: Floats) -> Floats:
        """Return corrected probabilities."""
        biases = np.array(self.biases) if self.biases else 0.0
        return np.asarray(softmax(self.sharpness * np.log(np.clip(predictions, TINY, 1)) + biases, axis=1))

    def shrunk(self, share: float) -> Self:
        """Return that share of the way from sharpness 1 and no biases."""
        return type(self)(1 + share * (self.sharpness - 1), tuple(share * bias for bias in self.biases))


@dataclass(frozen=True)
class Affine(Calibration):
    """Slope and intercept of a number, fitted by least squares."""

    task = "regression"

    slope: float = 1.0
    intercept: float = 0.0

    @classmethod
    def fit(cls, labels: Floats, predictions: Floats, weights: Floats) -> Self:
        """Return slope and intercept with the least weighted squared error; only an intercept for a constant answer."""
        total = weights.sum()
        mean, aim = float(weights @ predictions / total), float(weights @ labels / total)
        spread = float(weights @ (predictions - mean) ** 2)
        slope = float(weights @ ((predictions - mean) * (labels - aim))) / spread if spread > 0 else 1.0
        return cls(slope=slope, intercept=aim - slope * mean)

    def apply(self, predictions: Floats) -> Floats:
        """Return corrected values."""
        return np.asarray(self.slope * predictions + self.intercept)

    def shrunk(self, share: float) -> Self:
        """Return that share of the way from slope 1 and intercept 0."""
        return type(self)(slope=1 + share * (self.slope - 1), intercept=share * self.intercept)


CALIBRATIONS: Mapping[TaskName, type[Calibration]] = {kind.task: kind for kind in (Logistic, Temperature, Affine)}


def calibration_of(about: Mapping[str, Any]) -> Calibration:
    """Return the correction that a manifest describes."""
    values = dict(about)
    return CALIBRATIONS[values.pop("task")](**values)


def fit(task: TaskName, labels: Floats, predictions: Floats, days: npt.ArrayLike, *, doubt_days: float) -> Calibration:
    """Return the correction for these rows, shrunk towards "no change" by how few days there are.

    Days count alike, however many rows they have, and it is days that evidence is counted in: the rows of one day rise
    and fall together. Of n days' correction n / (n + doubt_days) is taken, as if doubt_days more had needed none.
    """
    names, blocks = np.unique(np.asarray(days), return_inverse=True)
    weights = 1 / np.bincount(blocks)[blocks] / len(names)
    found = CALIBRATIONS[task].fit(labels, np.asarray(predictions, dtype=np.float64), weights)
    return found.shrunk(len(names) / (len(names) + doubt_days))


def _log_odds(predictions: Floats) -> Floats:
    return np.asarray(logit(np.clip(np.asarray(predictions, dtype=np.float64), TINY, 1 - TINY)))
