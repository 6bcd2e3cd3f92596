"""This file is the training loop: plain PyTorch, the same on a laptop's CPU and on a GPU."""

import logging
import math
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from include.errors import TrainingFailedError
from include.pipeline import Training
from include.training.heads import Head

log = logging.getLogger(__name__)

STEPS_PER_EPOCH = 100

Matrix = npt.NDArray[np.float32]
Labels = npt.NDArray[Any]


@dataclass
class Curves:
    """What was measured after each epoch."""

    loss: list[float] = field(default_factory=list)
    holdout_loss: list[float] = field(default_factory=list)
    rows_per_second: list[float] = field(default_factory=list)
    quality: dict[str, list[float]] = field(default_factory=dict)  # on the hold-out, by metric

    def as_dict(self) -> dict[str, list[float]]:
        """Return all curves by name."""
        held_out = {f"holdout_{name}": values for name, values in self.quality.items()}
        return {
            "loss": self.loss,
            "holdout_loss": self.holdout_loss,
            "rows_per_second": self.rows_per_second,
            **held_out,
        }


def make_deterministic(seed: int) -> None:
    """Make the same data and the same seed give the same model, bit for bit, on one kind of machine."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS wants to be told before its first call.
    torch.manual_seed(seed)
    torch.use_deterministic_algorithms(True)
    # A sum split among threads rounds differently; and two threads of a network this small wait for each other at every
    # step: on two busy cores they took 25 s where one takes 1.8 s. On a GPU this changes nothing.
    torch.set_num_threads(1)


class Trainer:
    """Fits a network to labels; the head says what its outputs mean."""

    def __init__(self, network: nn.Module, head: Head, training: Training) -> None:
        """Prepare network, optimiser and schedule; nothing is learned yet."""
        self.training = training
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.network = network.to(self.device)
        self.head = head.to(self.device)
        self.optimizer = torch.optim.AdamW(
            network.parameters(), lr=training.learning_rate, weight_decay=training.weight_decay
        )
        self.shuffle = torch.Generator().manual_seed(training.seed)
        self.curves = Curves()

    def fit(
        self,
        train: tuple[Matrix, Labels],
        holdout: tuple[Matrix, Labels],
        judge: Callable[[Matrix], dict[str, float]] = lambda _predictions: {},
    ) -> Curves:
        """Learn for all epochs and return the curves; the hold-out is only looked at.

        :param judge: returns the metrics of predictions for the hold-out.
        :raises TrainingFailedError: if the loss is no longer a number.
        """
        # The whole table fits in memory: a batch is a look-up by a shuffled index, with no loader in between.
        (rows, labels), held_out = self._tensors(train), self._tensors(holdout)
        batch_size = self.training.batch_size or fitting_batch(len(rows))
        steps = -(-len(rows) // batch_size) * self.training.epochs
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            self.optimizer, max_lr=self.training.learning_rate, total_steps=steps
        )
        for epoch in range(1, self.training.epochs + 1):
            started = time.perf_counter()
            loss = self._run_epoch(rows, labels, batch_size, schedule)
            self._record(epoch, loss, len(rows) / (time.perf_counter() - started), held_out, judge)
        return self.curves

    @property
    def model(self) -> nn.Module:
        """Return the network as it is served: answers in place of its outputs."""
        return nn.Sequential(self.network, self.head)

    @torch.inference_mode()
    def predict(self, matrix: Matrix) -> Matrix:
        """Return answers, shape [rows] or [rows, classes]."""
        predictions: Matrix = self.model.eval()(torch.tensor(matrix, device=self.device)).cpu().numpy()
        return predictions

    def _tensors(self, data: tuple[Matrix, Labels]) -> tuple[Tensor, Tensor]:
        matrix, labels = data
        return torch.tensor(matrix, device=self.device), torch.tensor(labels, dtype=self.head.kind, device=self.device)

    def _run_epoch(
        self, rows: Tensor, labels: Tensor, batch_size: int, schedule: torch.optim.lr_scheduler.LRScheduler
    ) -> float:
        self.network.train()
        total = torch.zeros((), device=self.device)
        order = torch.randperm(len(rows), generator=self.shuffle).to(self.device)
        for batch in torch.split(order, batch_size):
            total += self._run_batch(rows[batch], labels[batch]) * len(batch)
            schedule.step()
        return float(total) / len(rows)  # Asked for once an epoch: asking a GPU for a number makes it wait.

    def _run_batch(self, rows: Tensor, labels: Tensor) -> Tensor:
        self.optimizer.zero_grad(set_to_none=True)
        loss = self.head.loss(self.network(rows), labels)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        return loss.detach()

    @torch.inference_mode()
    def _record(  # noqa: PLR0913  everything that is told about an epoch
        self,
        epoch: int,
        loss: float,
        speed: float,
        holdout: tuple[Tensor, Tensor],
        judge: Callable[[Matrix], dict[str, float]],
    ) -> None:
        if not np.isfinite(loss):
            raise TrainingFailedError(
                f"The loss was {loss} in epoch {epoch} with learning rate {self.training.learning_rate}. Lower "
                "`training.learning_rate`, or look for extreme values in the training window."
            )
        matrix, labels = holdout
        self.network.eval()
        outputs = self.network(matrix)
        found = judge(self.head(outputs).cpu().numpy())
        self.curves.loss.append(loss)
        self.curves.holdout_loss.append(float(self.head.loss(outputs, labels)))
        self.curves.rows_per_second.append(speed)
        for name, value in found.items():
            self.curves.quality.setdefault(name, []).append(value)
        log.info(
            "Epoch %s/%s: loss %.4f, hold-out loss %.4f, %s%s rows/s on %s",
            epoch,
            self.training.epochs,
            loss,
            self.curves.holdout_loss[-1],
            "".join(f"{name} {value:.4f}, " for name, value in found.items()),
            f"{speed:,.0f}",
            self.device,
        )


def fitting_batch(num_rows: int) -> int:
    """Return the power of two from 32 to 1024 with which an epoch over so many rows has about 100 steps.

    A model that takes two steps an epoch has learned next to nothing by the end, and nobody would be told.
    """
    return 2 ** min(10, max(5, round(math.log2(max(1, num_rows) / STEPS_PER_EPOCH))))
