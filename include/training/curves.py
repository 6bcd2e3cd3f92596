"""This file keeps and tells what was measured after each epoch, whichever framework trains."""

import logging
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import psutil

from include.errors import TrainingFailedError
from include.recipe import Training

log = logging.getLogger(__name__)

Judge = Callable[[npt.NDArray[np.float32]], dict[str, float]]


def no_judge(_predictions: npt.NDArray[np.float32]) -> dict[str, float]:
    """Return no metrics."""
    return {}


@dataclass
class Curves:
    """What was measured after each epoch."""

    epochs: int = 0  # asked for
    loss: list[float] = field(default_factory=list)
    holdout_loss: list[float] = field(default_factory=list)
    validation_loss: list[float] = field(default_factory=list)  # where it says when to stop
    rows_per_second: list[float] = field(default_factory=list)
    memory_mb: list[float] = field(default_factory=list)  # of this process, as the kernel counts it (RSS)
    quality: dict[str, list[float]] = field(default_factory=dict)  # on the hold-out, by metric

    def as_dict(self) -> dict[str, list[float]]:
        """Return all curves by name."""
        curves = asdict(self)
        del curves["epochs"]
        curves |= {f"holdout_{name}": values for name, values in curves.pop("quality").items()}
        return {name: values for name, values in curves.items() if values}

    def as_state(self) -> dict[str, Any]:
        """Return all there is, for a checkpoint."""
        return asdict(self)

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        """Return the curves that a checkpoint holds."""
        return cls(**state)

    @property
    def best_epoch(self) -> int:
        """Return the number of the epoch whose weights were taken, where one was chosen; else of all epochs."""
        return int(np.argmin(self.validation_loss)) + 1 if self.validation_loss else self.epochs

    def add_validation(self, loss: float, patience: int | None) -> tuple[bool, bool]:
        """Note an epoch's validation loss; tell whether it is the best so far, and whether it is time to stop."""
        self.validation_loss.append(loss)
        since = len(self.validation_loss) - self.best_epoch
        return since == 0, patience is not None and since >= patience

    def add(  # noqa: PLR0913  everything that is told about an epoch
        self,
        epoch: int,
        training: Training,
        *,
        loss: float,
        holdout_loss: float,
        speed: float,
        quality: dict[str, float],
        device: str,
    ) -> None:
        """Note and log an epoch's numbers.

        :param speed: rows a second.
        :raises TrainingFailedError: if the loss is no longer a number.
        """
        if not np.isfinite(loss):
            raise TrainingFailedError(
                f"The loss was {loss} in epoch {epoch} with learning rate {training.learning_rate}. Lower "
                "`training.learning_rate`, or look for extreme values in the training window."
            )
        self.loss.append(loss)
        self.holdout_loss.append(holdout_loss)
        self.rows_per_second.append(speed)
        self.memory_mb.append(psutil.Process().memory_info().rss / 1e6)
        for name, value in quality.items():
            self.quality.setdefault(name, []).append(value)
        told = "".join(f"{name} {value:.4f}, " for name, value in quality.items())
        log.info(
            "Epoch %s/%s: loss %.4f, hold-out loss %.4f, %s%s rows/s on %s, %.0f MB",
            *(epoch, training.epochs, loss, holdout_loss, told, f"{speed:,.0f}", device, self.memory_mb[-1]),
        )
