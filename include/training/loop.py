"""This file is what every training has in common: epochs, looks at the hold-out, pauses in which its state is saved.

How a step is made is each framework's own: torch_trainer.py and keras_trainer.py.
"""

import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import numpy.typing as npt

from include.errors import TrainingInterruptedError
from include.recipe import Training
from include.training.checkpoint import Arrays, Checkpoint, Checkpoints
from include.training.curves import Curves, Judge, no_judge
from include.training.notice import Notice
from include.training.stream import Batch, Labels, Matrix, Stream

AGREE_STEPS = 16  # several processes stop and save together: they ask each other every so many steps
PREDICTED_AT_ONCE = 16_384


class Loop(ABC):
    """Takes a network through all steps; a framework says what a step is."""

    device: str  # as it is told to people

    def __init__(self, training: Training) -> None:
        """Note what is asked for; nothing is learned yet."""
        self.training = training
        self.curves = Curves(training.epochs)
        self._was_saved = False

    def fit(  # noqa: PLR0913  what is learned from, looked at, and kept
        self,
        stream: Stream,
        holdout: tuple[Matrix, Labels],
        judge: Judge = no_judge,
        checkpoints: Checkpoints | None = None,
        notice: Notice | None = None,
        validation: tuple[Matrix, Labels] | None = None,
    ) -> Curves:
        """Learn for all epochs, or go on where a checkpoint left off, and return the curves.

        :param holdout: only looked at.
        :param judge: returns the metrics of predictions for the hold-out.
        :param validation: its loss says when to stop, where the YAML has `patience`.
        :raises TrainingFailedError: if the loss is no longer a number.
        :raises TrainingInterruptedError: if notice was given; the state after the last step is saved.
        """
        steps, last = stream.steps_per_epoch, stream.steps_per_epoch * self.training.epochs
        with self.learning(last, stream):
            found = checkpoints.newest() if checkpoints else None
            first = self._go_on(found, stream) if found else 0
            started, began_at = time.perf_counter(), first
            for step, batch in enumerate(stream.batches(self.training.epochs, first), first + 1):
                self.learn(batch)
                if step % steps == 0:
                    speed = (step - began_at) * stream.batch_size / (time.perf_counter() - started)
                    is_over = validation is not None and self._is_over(validation)
                    self._end_epoch(step // steps, stream, speed, holdout, judge)
                    started, began_at = time.perf_counter(), step
                    if is_over:
                        break
                self._pause(step, stream, checkpoints, notice)
            self.take_best()
            if checkpoints and self._was_saved:  # only what took long enough to be saved is worth saving at the end
                self._save(last, stream, checkpoints)
        return self.curves

    @abstractmethod
    def learning(self, steps: int, stream: Stream) -> AbstractContextManager[None]:
        """Have schedule and optimiser for so many steps in all, and let go of what only learning needs at the end."""

    @abstractmethod
    def learn(self, batch: Batch) -> None:
        """Make one step, and add the loss of its rows up."""

    @abstractmethod
    def look(self, rows: tuple[Matrix, Labels]) -> tuple[npt.NDArray[np.float32], float]:
        """Return answers to rows that are not learned from, and their mean loss."""

    @abstractmethod
    def summed_loss(self) -> float:
        """Return the sum of the losses of all processes' rows since it was last asked; all of them ask together."""

    @abstractmethod
    def keep_best(self) -> None:
        """Remember the weights as they are now."""

    @abstractmethod
    def take_best(self) -> None:
        """Take the remembered weights, if there are any; the network is served from now on."""

    @abstractmethod
    def any_of(self, *flags: bool) -> list[bool]:
        """Return whether any of the processes says so, flag by flag; all of them call this after the same step."""

    @abstractmethod
    def state(self, stream: Stream) -> tuple[Arrays, dict[str, Any]]:
        """Return all that the next steps depend on; all processes call this together."""

    @abstractmethod
    def restore(self, found: Checkpoint, stream: Stream) -> None:
        """Put that back."""

    def _go_on(self, found: Checkpoint, stream: Stream) -> int:
        self.restore(found, stream)
        self.curves = Curves.from_state(found.state["curves"])
        return found.step

    def _end_epoch(
        self, epoch: int, stream: Stream, speed: float, holdout: tuple[Matrix, Labels], judge: Judge
    ) -> None:
        summed = self.summed_loss()
        if stream.rank:
            return
        answers, loss = self.look(holdout)
        self.curves.add(
            epoch,
            self.training,
            loss=summed / stream.blocks.num_rows,
            holdout_loss=loss,
            speed=speed,
            quality=judge(answers),
            device=self.device,
        )

    def _is_over(self, validation: tuple[Matrix, Labels]) -> bool:
        """Note an epoch's loss on the validation rows; tell whether the best one was long enough ago."""
        is_best, is_over = self.curves.add_validation(self.look(validation)[1], self.training.patience)
        if is_best:
            self.keep_best()
        return is_over

    def _pause(self, step: int, stream: Stream, checkpoints: Checkpoints | None, notice: Notice | None) -> None:
        """Save if it is time, and stop if that was asked for: several processes do so after the same step."""
        is_asked, is_due = bool(notice), bool(stream.rank == 0 and checkpoints and checkpoints.is_due())
        if stream.world > 1:
            if step % AGREE_STEPS:
                return
            is_asked, is_due = self.any_of(is_asked, is_due)
        if checkpoints and (is_asked or is_due):
            self._save(step, stream, checkpoints)
        if is_asked:
            raise TrainingInterruptedError(f"Asked to end: stopped after step {step}, to go on from there.")

    def _save(self, step: int, stream: Stream, checkpoints: Checkpoints) -> None:
        self._was_saved = True
        arrays, state = self.state(stream)
        if stream.rank == 0:
            checkpoints.save(step, arrays, {**state, "curves": self.curves.as_state()})


def parts(matrix: Matrix) -> Iterator[Matrix]:
    """Yield rows so many at a time that their answers fit in memory; one part without rows, if there are none."""
    return (matrix[place : place + PREDICTED_AT_ONCE] for place in range(0, max(1, len(matrix)), PREDICTED_AT_ONCE))
