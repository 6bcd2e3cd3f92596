"""This file is a training's step in PyTorch: the same on a laptop's CPU, on GPUs, and in several processes."""

import contextlib
import os
from collections.abc import Callable, Iterator
from typing import Any, cast

import numpy.typing as npt
import onnx
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from include.learning.task import Task
from include.recipe import Training
from include.training import torch_state
from include.training.balance import weights_of
from include.training.checkpoint import Arrays, Checkpoint
from include.training.environment import place_by_torchrun
from include.training.heads import Head, head_of
from include.training.layout import Layout
from include.training.loop import Loop, parts
from include.training.named import function_at
from include.training.stream import Batch, Labels, Matrix, Stream
from include.training.torch_export import graph_of

MODELS = "include.training.models"


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
    make = function_at(training.model or f"{MODELS}:{layout.usual_model}")
    head = head_of(task)
    weights = weights_of(training, task, labels)
    return Trainer(make(layout, training, head.start(labels)), head, training, weights)


class Trainer(Loop):
    """Fits a network to labels; the head says what its outputs mean.

    :param class_weights: how much a row of each class counts; none: all the same.
    """

    def __init__(self, network: nn.Module, head: Head, training: Training, class_weights: Matrix | None = None) -> None:
        """Prepare network and optimiser; nothing is learned yet."""
        super().__init__(training)
        self._place = torch.device("cuda", torch.cuda.current_device()) if torch.cuda.is_available() else CPU
        self.device = str(self._place)
        self.network = network.to(self._place)
        self.head = head.to(self._place)
        self.optimizer = torch.optim.AdamW(
            network.parameters(), lr=training.learning_rate, weight_decay=training.weight_decay
        )
        self._loss = torch.zeros((), device=self._place)  # of this epoch's rows so far
        self._class_weights = None if class_weights is None else torch.from_numpy(class_weights).to(self._place)
        self._best: dict[str, Tensor] = {}

    @contextlib.contextmanager
    def learning(self, steps: int, stream: Stream) -> Iterator[None]:
        """Have the schedule, and the network for as many processes as there are."""
        self.schedule = SCHEDULES[self.training.schedule](self.optimizer, self.training.learning_rate, steps)
        learner: nn.Module = self.network
        if self.training.compile:
            learner = cast(nn.Module, torch.compile(learner))
        if stream.world > 1:
            ids = [self._place.index] if self._place.type == "cuda" else None
            learner = DistributedDataParallel(learner, device_ids=ids)
        self._learner = learner.train()
        try:
            yield
        finally:
            # Before the process group goes: its last holder must not be DDP, which waits for Gloo's threads while it
            # keeps the interpreter's lock that these threads want, forever (pytorch/pytorch#56297).
            del self._learner

    def learn(self, batch: Batch) -> None:
        """Make one step."""
        rows, labels = (self._tensor(part) for part in (batch.matrix, batch.labels))
        self.optimizer.zero_grad(set_to_none=True)
        with self._precision():
            outputs = self._learner(rows)
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

    @torch.inference_mode()
    def look(self, rows: tuple[Matrix, Labels]) -> tuple[Matrix, float]:
        """Return answers to rows that are not learned from, and their mean loss."""
        matrix, labels = rows
        self.network.eval()
        outputs = torch.cat([self.network(torch.from_numpy(part).to(self._place)) for part in parts(matrix)])
        losses = self.head.losses(outputs, torch.from_numpy(labels).to(self._place, self.head.kind))
        self.network.train()
        return self.head(outputs).cpu().numpy(), float(losses.mean())

    def summed_loss(self) -> float:
        """Return the sum of all losses since it was last asked."""
        if dist.is_initialized():
            dist.all_reduce(self._loss)
        summed = float(self._loss)
        self._loss.zero_()
        return summed

    def keep_best(self) -> None:
        """Remember the weights as they are now."""
        self._best = {name: value.clone() for name, value in self.network.state_dict().items()}

    def take_best(self) -> None:
        """Take the remembered weights, if there are any."""
        if self._best:
            self.network.load_state_dict(self._best)

    def any_of(self, *flags: bool) -> list[bool]:
        """Return whether any of the processes says so."""
        told = torch.tensor(flags, dtype=torch.int32, device=self._place)
        dist.all_reduce(told, dist.ReduceOp.MAX)
        return [bool(flag) for flag in told.tolist()]

    def state(self, stream: Stream) -> tuple[Arrays, dict[str, Any]]:
        """Return weights, optimiser, schedule, and the state of chance in each process."""
        mine = torch_state.chance(self._place)
        everyone = [mine] * stream.world
        if stream.world > 1:
            dist.all_gather_object(everyone, mine)
        arrays = torch_state.arrays_of(self.network, self.optimizer, self._best)
        for rank, states in enumerate(everyone):
            arrays |= {f"random/{rank}/{name}": value for name, value in states.items()}
        arrays["loss"] = torch_state.array_of(self._loss)
        groups = self.optimizer.state_dict()["param_groups"]
        return arrays, {"groups": groups, "schedule": self.schedule.state_dict()}

    def restore(self, found: Checkpoint, stream: Stream) -> None:
        """Put that back."""
        torch_state.restore(found, self.network, self.optimizer, found.state["groups"])
        best = torch_state.tensors(found.under("best"))
        self._best = {name: value.to(self._place) for name, value in best.items()}
        self.schedule.load_state_dict(found.state["schedule"])
        self._loss.copy_(torch.from_numpy(found.arrays["loss"]))
        torch_state.restore_chance(found.under(f"random/{stream.rank}"), self._place)

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
        model = self.model.to(self._place).eval()  # an export has taken it to the CPU
        found = [model(torch.from_numpy(part).to(self._place)).cpu() for part in parts(matrix)]
        predictions: Matrix = torch.cat(found).numpy()
        return predictions

    def _precision(self) -> contextlib.AbstractContextManager[Any]:
        is_half = self.training.precision == "bfloat16"
        return torch.autocast(self._place.type, torch.bfloat16) if is_half else contextlib.nullcontext()

    def _tensor(self, part: npt.NDArray[Any]) -> Tensor:
        found = torch.from_numpy(part)
        return found.pin_memory().to(self._place, non_blocking=True) if self._place.type == "cuda" else found


CPU = torch.device("cpu")

Schedule = torch.optim.lr_scheduler.LRScheduler
SCHEDULES: dict[str, Callable[[torch.optim.Optimizer, float, int], Schedule]] = {
    "one_cycle": lambda optimizer, rate, steps: torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=rate, total_steps=steps
    ),
    "cosine": lambda optimizer, _rate, steps: torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=steps),
    "constant": lambda optimizer, _rate, _steps: torch.optim.lr_scheduler.ConstantLR(optimizer, factor=1.0),
}
