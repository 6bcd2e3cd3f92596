"""This file compares training with the bare frameworks, from disk with from memory, two processes with one.

`python -m bench.training MODE …` is one measurement in a process of its own: a framework's threads and memory are then
those of that measurement alone. It prints JSON.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from bench import whole_training
from include.learning.binary import Binary
from include.recipe import Features, Training
from include.settings import ROOT
from include.training import stream
from include.training.checkpoint import Checkpoints
from include.training.frameworks import framework
from include.training.layout import Layout
from include.training.stream import InMemory, OnDisk, Stream

ROWS, NUMERIC, CATEGORIES = 200_000, 12, (16, 3, 100, 7)
LAYOUT = Layout(NUMERIC, CATEGORIES)
TRAINING = Training(
    target="late",
    features=Features(numeric=[f"n{number}" for number in range(NUMERIC)], categorical=list("abcd")),
    epochs=3,
    batch_size=1024,
)
LARGE = {"hidden": [1024, 1024], "batch_size": 4096, "epochs": 2}
REPEATS = 5
DEFAULT_INTERVAL = Training.model_fields["checkpoint_seconds"].default


def measure() -> dict[str, Any]:
    """Return the ratios that docs/benchmarks.md explains, each of two things measured in turn in one run."""
    with tempfile.TemporaryDirectory(prefix="evergreen-training-") as name:
        folder = Path(name)
        small, large = (whole_training.peak_of(folder / f"{days}", days) for days in (20, 200))
        alone, together = (_rows_per_second(processes) for processes in (1, 2))
        checkpoint = _run("checkpoint", str(folder / "saved"))
        return {
            "torch_over_bare": _run("bare", "torch"),
            "keras_over_bare": _run("bare", "keras"),
            "streaming_over_memory": _run("streaming", str(folder)),
            "two_over_one": {"ratio": round(together / alone, 3), "rows_per_s": [round(alone), round(together)]},
            "memory_10x_ratio": {"ratio": round(large / small, 3), "mb": [round(small), round(large)]},
            "checkpoint_overhead": checkpoint,
            "request_to_registered_seconds": whole_training.breakdown(folder),
        }


def _run(*arguments: str, **env: str) -> Any:
    done = subprocess.run(
        [sys.executable, "-m", "bench.training", *arguments],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": f"{ROOT}", "OMP_NUM_THREADS": "1"} | env,
        stdout=subprocess.PIPE,
        check=True,
        text=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


def example(rows: int = ROWS) -> tuple[np.ndarray, np.ndarray]:
    """Return a preprocessed matrix and labels with something to learn in them."""
    random = np.random.default_rng(0)
    numbers = random.standard_normal((rows, NUMERIC), dtype=np.float32)
    codes = [random.integers(-1, size, (rows, 1)) for size in CATEGORIES]
    labels = numbers[:, 0] + (codes[0][:, 0] > 8) + random.standard_normal(rows) > 0.5
    return np.hstack([numbers, *codes]).astype(np.float32), labels.astype(np.float32)


def _in_turn(first: Callable[[], None], second: Callable[[], None]) -> dict[str, Any]:
    """Return how much faster the second is than the first: the median over runs in turn, after one of each."""
    seconds: tuple[list[float], list[float]] = ([], [])
    for number in range(REPEATS + 1):
        for what, kept in zip((first, second), seconds, strict=True):
            began = time.perf_counter()
            what()
            if number:
                kept.append(time.perf_counter() - began)
    one, other = map(statistics.median, seconds)
    return {"ratio": round(one / other, 3), "seconds": [round(one, 3), round(other, 3)]}


def bare(name: str) -> dict[str, Any]:
    """Compare the trainer with the framework's own plain loop over the same data in memory: above 1 is faster."""
    trains = framework(name)  # type: ignore[arg-type]
    matrix, labels = example()
    plain = {"torch": _bare_torch, "keras": _bare_keras}[name]

    def ours() -> None:
        trains.make_deterministic(1)
        trainer = trains.build(TRAINING, LAYOUT, Binary(), labels)
        trainer.fit(Stream(InMemory(matrix, labels), 1024, 1), (matrix[:1000], labels[:1000]))

    def theirs() -> None:
        trains.make_deterministic(1)
        plain(matrix, labels)

    return _in_turn(theirs, ours)


def _bare_torch(matrix: np.ndarray, labels: np.ndarray) -> None:
    import torch
    from torch.nn.functional import binary_cross_entropy_with_logits

    from include.training.models import tabular_mlp

    rows, wanted = torch.from_numpy(matrix), torch.from_numpy(labels)
    network = tabular_mlp(LAYOUT, TRAINING, torch.zeros(1))
    optimizer = torch.optim.AdamW(network.parameters(), lr=TRAINING.learning_rate)
    steps = -(-len(rows) // 1024) * TRAINING.epochs
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=TRAINING.learning_rate, total_steps=steps)
    network.train()
    for _ in range(TRAINING.epochs):
        for batch in torch.randperm(len(rows)).split(1024):
            optimizer.zero_grad(set_to_none=True)
            loss = binary_cross_entropy_with_logits(network(rows[batch]).squeeze(1), wanted[batch])
            loss.backward()
            optimizer.step()
            schedule.step()


def _bare_keras(matrix: np.ndarray, labels: np.ndarray) -> None:
    import keras

    from include.training.keras_models import tabular_mlp
    from include.training.keras_trainer import learning_rate

    network = tabular_mlp(LAYOUT, TRAINING, np.zeros(1, dtype=np.float32))
    steps = -(-len(matrix) // 1024) * TRAINING.epochs
    network.compile(
        optimizer=keras.optimizers.AdamW(learning_rate(TRAINING, steps)),
        loss=keras.losses.BinaryCrossentropy(from_logits=True),
    )
    network.fit(matrix, labels, batch_size=1024, epochs=TRAINING.epochs, verbose=0)


def streaming(folder: str) -> dict[str, Any]:
    """Compare rows read from disk with rows in memory: 1 is as fast."""
    trains = framework("torch")
    matrix, labels = example()
    path = Path(folder) / "rows.arrow"
    stream.write(path, iter([(matrix, labels)]), len(matrix))

    def fit(blocks: Any) -> None:
        trains.make_deterministic(1)
        trainer = trains.build(TRAINING, LAYOUT, Binary(), labels)
        trainer.fit(Stream(blocks, 1024, 1), (matrix[:1000], labels[:1000]))

    return _in_turn(lambda: fit(InMemory(matrix, labels)), lambda: fit(OnDisk(path)))


def checkpoint(folder: str) -> dict[str, Any]:
    """Return the share of time that saving takes at the default interval, for a small and for a large network."""
    trains = framework("torch")
    matrix, labels = example(20_000)
    found = {}
    for name, changes in {"small": {}, "large": LARGE}.items():
        training = TRAINING.model_copy(update=changes)
        trainer = trains.build(training, LAYOUT, Binary(), labels)
        kept = Checkpoints(f"{folder}/{name}", "bench", 0.0)  # after each step
        trainer.fit(Stream(InMemory(matrix, labels), 4096, 1), (matrix[:10], labels[:10]), checkpoints=kept)
        saves = 5 * training.epochs + 1
        found[name] = round(kept.seconds / saves / DEFAULT_INTERVAL, 5)
    return {"ratio": max(found.values()), "interval_seconds": DEFAULT_INTERVAL, "by_network": found}


def shared() -> None:
    """Print the rows a second of a training that shares each batch with its siblings."""
    trains = framework("torch")
    trains.make_deterministic(1)
    matrix, labels = example(40_960)
    training = TRAINING.model_copy(update=LARGE)
    with trains.process_group() as (rank, world):
        trainer = trains.build(training, LAYOUT, Binary(), labels)
        found = Stream(InMemory(matrix, labels), 4096, 1, rank, world)
        curves = trainer.fit(found, (matrix[:10], labels[:10]))
    if rank == 0:
        print(json.dumps(max(curves.rows_per_second)))


def _rows_per_second(processes: int) -> float:
    torchrun = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    done = subprocess.run(
        [sys.executable, *torchrun, "-m", "bench.training", "shared"],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": f"{ROOT}", "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        check=True,
        text=True,
    )
    return float(done.stdout.splitlines()[-1])


if __name__ == "__main__":
    mode, *arguments = sys.argv[1:]
    if mode == "shared":
        shared()
    else:
        print(json.dumps({"bare": bare, "streaming": streaming, "checkpoint": checkpoint}[mode](*arguments)))
