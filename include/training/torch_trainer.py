"""This file is the training loop in PyTorch: the same on a laptop's CPU, on GPUs, and on several processes."""

import contextlib
import logging
import os
import time
from collections.abc import Callable, Iterator
from typing import Any, cast

import numpy.typing as npt
import onnx
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from include.errors import TrainingInterruptedError
from include.learning.task import Task
from include.recipe import Training
from include.training import torch_state
from include.training.balance import weights_of
from include.training.checkpoint import Checkpoint, Checkpoints
from include.training.curves import Curves, Judge, no_judge
from include.training.environment import place_by_torchrun
from include.training.heads import Head, head_of
from include.training.layout import Layout
from include.training.named import function_at
from include.training.notice import Notice
from include.training.stream import Batch, Labels, Matrix, Stream
from include.training.torch_export import graph_of

log = logging.getLogger(__name__)

MODEL = "include.training.models:tabular_mlp"
AGREE_STEPS = 16  # several processes stop and save together: they ask each other every so many steps
PREDICTED_AT_ONCE = 16_384


def make_deterministic(seed: int, threads: int = 1) -> None:
    """Make the same data and the same seed give the same model, bit for bit, on one kind of machine.

    A sum split among threads rounds differently: another number of threads is another model. More than one rarely pays
    for a small network: two threads that wait for each other at every step took 25 s on two busy cores, one 1.8 s.
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS wants to be told before its first call.
    torch.manual_seed(seed)
    torch.use_deterministic_algorithms(True)
    torch.set_num_threads(threads)


def version() -> str:
    """Return what of this framework a training depends on."""
    return f"torch {torch.__version__}, {torch.get_num_threads()} threads"


@contextlib.contextmanager
def process_group() -> Iterator[tuple[int, int]]:
    """Join the processes that torchrun has started and give (rank, number of them); (0, 1) for one alone."""
    place = place_by_torchrun()
    if place.world == 1:
        yield 0, 1
        return
    if torch.cuda.is_available():
        torch.cuda.set_device(place.local_rank)
    dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    try:
        yield dist.get_rank(), dist.get_world_size()
    finally:
        dist.destroy_process_group()


def build(training: Training, layout: Layout, task: Task, labels: npt.NDArray[Any]) -> "Trainer":
    """Return a trainer of the network that the YAML names, ready to learn.

    :param labels: the window's, encoded: the network's first answer is the best constant one.
    """
    make = function_at(training.model or MODEL)
    head = head_of(task)
    weights = weights_of(training, task, labels)
    return Trainer(make(layout, training, head.start(labels)), head, training, weights)


class Trainer:
    """Fits a network to labels; the head says what its outputs mean.

    :param class_weights: how much a row of each class counts; none: all the same.
    """

    def __init__(self, network: nn.Module, head: Head, training: Training, class_weights: Matrix | None = None) -> None:
        """Prepare network and optimiser; nothing is learned yet."""
        self.training = training
        self.device = torch.device("cuda", torch.cuda.current_device()) if torch.cuda.is_available() else CPU
        self.network = network.to(self.device)
        self.head = head.to(self.device)
        self.optimizer = torch.optim.AdamW(
            network.parameters(), lr=training.learning_rate, weight_decay=training.weight_decay
        )
        self.curves = Curves(training.epochs)
        self._loss = torch.zeros((), device=self.device)  # of this epoch's rows so far
        self._class_weights = None if class_weights is None else torch.from_numpy(class_weights).to(self.device)
        self._best: dict[str, Tensor] = {}
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
        training, steps = self.training, stream.steps_per_epoch
        self.schedule = SCHEDULES[training.schedule](self.optimizer, training.learning_rate, steps * training.epochs)
        found = checkpoints.newest() if checkpoints else None
        first = self._restore(found, stream.rank) if found else 0
        learner = self._learner(stream.world)
        started, began_at = time.perf_counter(), first
        for step, batch in enumerate(stream.batches(training.epochs, first), first + 1):
            self._run_step(learner, batch)
            if step % steps == 0:
                speed = (step - began_at) * stream.batch_size / (time.perf_counter() - started)
                is_over = validation is not None and self._is_over(validation)
                if stream.rank == 0:
                    self._end_epoch(step // steps, stream.blocks.num_rows // stream.world, speed, holdout, judge)
                self._loss.zero_()
                self.network.train()
                started, began_at = time.perf_counter(), step
                if is_over:
                    break
            self._pause(step, stream, checkpoints, notice)
        if self._best:
            self.network.load_state_dict(self._best)
        if checkpoints and self._was_saved:  # only what took long enough to be saved is worth saving at the end
            self._save(steps * training.epochs, stream, checkpoints)
        return self.curves

    def graph(self, width: int) -> onnx.ModelProto:
        """Return the model as it is served as an ONNX graph."""
        return graph_of(self.model, width)

    @property
    def model(self) -> nn.Module:
        """Return the network as it is served: answers in place of its outputs."""
        return nn.Sequential(self.network, self.head)

    def weights(self) -> Iterator[npt.NDArray[Any]]:
        """Yield all that was learned."""
        return (torch_state.array_of(value) for value in self.network.state_dict().values())

    @torch.inference_mode()
    def predict(self, matrix: Matrix) -> Matrix:
        """Return answers, shape [rows] or [rows, classes]."""
        model = self.model.to(self.device).eval()  # an export has taken it to the CPU
        parts = [model(torch.from_numpy(part).to(self.device)).cpu() for part in _parts(matrix)]
        predictions: Matrix = torch.cat(parts).numpy()
        return predictions

    def _learner(self, world: int) -> nn.Module:
        learner: nn.Module = self.network
        if self.training.compile:
            learner = cast(nn.Module, torch.compile(learner))
        if world > 1:
            ids = [self.device.index] if self.device.type == "cuda" else None
            learner = DistributedDataParallel(learner, device_ids=ids)
        return learner.train()

    def _run_step(self, learner: nn.Module, batch: Batch) -> None:
        rows, labels = (self._tensor(part) for part in (batch.matrix, batch.labels))
        self.optimizer.zero_grad(set_to_none=True)
        with self._precision():
            outputs = learner(rows)
        labels = labels.to(self.head.kind)
        losses = self.head.losses(outputs.float(), labels)
        if self._class_weights is not None:
            losses = losses * self._class_weights[labels.long()]
        loss = losses.mean() if batch.weight == 1 else losses.mean() * batch.weight
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        self.schedule.step()
        # Asked for once an epoch: asking a GPU for a number makes it wait.
        self._loss.add_(loss.detach(), alpha=len(rows) / batch.weight)

    def _precision(self) -> contextlib.AbstractContextManager[Any]:
        is_half = self.training.precision == "bfloat16"
        return torch.autocast(self.device.type, torch.bfloat16) if is_half else contextlib.nullcontext()

    def _tensor(self, part: npt.NDArray[Any]) -> Tensor:
        found = torch.from_numpy(part)
        return found.pin_memory().to(self.device, non_blocking=True) if self.device.type == "cuda" else found

    @torch.inference_mode()
    def _end_epoch(self, epoch: int, num_rows: int, speed: float, holdout: tuple[Matrix, Labels], judge: Judge) -> None:
        outputs, looked = self._look(holdout)
        self.curves.add(
            epoch,
            self.training,
            loss=float(self._loss) / num_rows,
            holdout_loss=looked,
            speed=speed,
            quality=judge(self.head(outputs).cpu().numpy()),
            device=str(self.device),
        )

    @torch.inference_mode()
    def _look(self, rows: tuple[Matrix, Labels]) -> tuple[Tensor, float]:
        """Return the outputs for rows that are not learned from, and their mean loss."""
        matrix, labels = rows
        self.network.eval()
        outputs = torch.cat([self.network(torch.from_numpy(part).to(self.device)) for part in _parts(matrix)])
        losses = self.head.losses(outputs, torch.from_numpy(labels).to(self.device, self.head.kind))
        return outputs, float(losses.mean())

    def _is_over(self, validation: tuple[Matrix, Labels]) -> bool:
        """Note an epoch's loss on the validation rows; tell whether the best one was long enough ago."""
        is_best, is_over = self.curves.add_validation(self._look(validation)[1], self.training.patience)
        if is_best:
            self._best = {name: value.clone() for name, value in self.network.state_dict().items()}
        return is_over

    def _pause(self, step: int, stream: Stream, checkpoints: Checkpoints | None, notice: Notice | None) -> None:
        """Save if it is time, and stop if that was asked for: in several processes all do so after the same step."""
        is_asked, is_due = bool(notice), bool(stream.rank == 0 and checkpoints and checkpoints.is_due())
        if stream.world > 1:
            if step % AGREE_STEPS:
                return
            told = torch.tensor([is_asked, is_due], dtype=torch.int32, device=self.device)
            dist.all_reduce(told, dist.ReduceOp.MAX)
            is_asked, is_due = map(bool, told.tolist())
        if checkpoints and (is_asked or is_due):
            self._save(step, stream, checkpoints)
        if is_asked:
            raise TrainingInterruptedError(f"Asked to end: stopped after step {step}, to go on from there.")

    def _save(self, step: int, stream: Stream, checkpoints: Checkpoints) -> None:
        self._was_saved = True
        mine = torch_state.chance(self.device)
        everyone: list[dict[str, npt.NDArray[Any]]] = [mine] * stream.world
        if stream.world > 1:
            dist.all_gather_object(everyone, mine)
        if stream.rank:
            return
        arrays = torch_state.arrays_of(self.network, self.optimizer, self._best)
        for rank, states in enumerate(everyone):
            arrays |= {f"random/{rank}/{name}": value for name, value in states.items()}
        state = {
            "groups": self.optimizer.state_dict()["param_groups"],
            "schedule": self.schedule.state_dict(),
            "curves": self.curves.as_state(),
        }
        checkpoints.save(step, {**arrays, "loss": torch_state.array_of(self._loss)}, state)

    def _restore(self, found: Checkpoint, rank: int) -> int:
        torch_state.restore(found, self.network, self.optimizer, found.state["groups"])
        best = torch_state.tensors(found.under("best"))
        self._best = {name: value.to(self.device) for name, value in best.items()}
        self.schedule.load_state_dict(found.state["schedule"])
        self.curves = Curves.from_state(found.state["curves"])
        self._loss += torch.from_numpy(found.arrays["loss"]).to(self.device)
        torch_state.restore_chance(found.under(f"random/{rank}"), self.device)
        return found.step


CPU = torch.device("cpu")

Schedule = torch.optim.lr_scheduler.LRScheduler
SCHEDULES: dict[str, Callable[[torch.optim.Optimizer, float, int], Schedule]] = {
    "one_cycle": lambda optimizer, rate, steps: torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=rate, total_steps=steps
    ),
    "cosine": lambda optimizer, _rate, steps: torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=steps),
    "constant": lambda optimizer, _rate, _steps: torch.optim.lr_scheduler.ConstantLR(optimizer, factor=1.0),
}


def _parts(matrix: Matrix) -> Iterator[Matrix]:
    return (matrix[place : place + PREDICTED_AT_ONCE] for place in range(0, max(1, len(matrix)), PREDICTED_AT_ONCE))
