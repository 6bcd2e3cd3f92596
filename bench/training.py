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
import pyarrow as pa
import pyarrow.parquet as pq

from bench.night import PIPELINE, deliveries_of_their_own, ingest
from include.config import load_pipeline
from include.learning.binary import Binary
from include.partition import days_between
from include.recipe import Features, Training
from include.settings import ROOT
from include.training import stream
from include.training.checkpoint import Checkpoints
from include.training.frameworks import framework
from include.training.layout import Layout
from include.training.spec import Spec
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
        small, large = (_peak_of(folder / f"{days}", days) for days in (20, 200))
        alone, together = (_rows_per_second(processes) for processes in (1, 2))
        checkpoint = _run("checkpoint", str(folder / "saved"))
        return {
            "torch_over_bare": _run("bare", "torch"),
            "keras_over_bare": _run("bare", "keras"),
            "streaming_over_memory": _run("streaming", str(folder)),
            "two_over_one": {"ratio": round(together / alone, 3), "rows_per_s": [round(alone), round(together)]},
            "memory_10x_ratio": {"ratio": round(large / small, 3), "mb": [round(small), round(large)]},
            "checkpoint_overhead": checkpoint,
            "request_to_registered_seconds": _breakdown(folder),
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


def _peak_of(folder: Path, num_days: int) -> float:
    """Return the most memory (MB, resident) of a whole training on so many days of 5,000 rows."""
    (folder / "rows").mkdir(parents=True)
    days = [str(np.datetime64("2020-01-01") + number) for number in range(num_days + 4)]
    for number, day in enumerate(days):
        random, size = np.random.default_rng(number), 5000
        numbers = {f"n{place}": random.standard_normal(size) for place in range(NUMERIC)}
        words = {name: random.choice(["x", "y", "z"], size) for name in "abcd"}
        late = numbers["n0"] + random.standard_normal(size) > 0
        keys = [f"{day}-{row:05}" for row in range(size)]
        pq.write_table(
            pa.table({"id": keys, "day": [day] * size, "late": late, **numbers, **words}), folder / "rows" / day
        )
    spec = Spec(
        pipeline=PIPELINE,
        request_id=f"{PIPELINE}.bench.{num_days}",
        reason="bench",
        key="id",
        date="day",
        snapshot_id=None,
        train_days=(days[0], days[num_days - 1]),
        holdout_days=(days[num_days], days[-1]),
        training=TRAINING.model_copy(update={"epochs": 1, "refit": False}),
        sample_rows=1000,
        folder=folder / "model",
        rows=folder / "rows",
    )
    process = subprocess.Popen(
        [sys.executable, "-m", "include.training"],
        cwd=ROOT,
        env=os.environ | {"EVERGREEN_SPEC": spec.model_dump_json(), "MLFLOW_TRACKING_URI": "http://127.0.0.1:9"},
        stdout=subprocess.DEVNULL,
    )
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise RuntimeError(f"The training of {num_days} days ended with {status}")
    return usage.ru_maxrss / 1e3


def _breakdown(folder: Path) -> dict[str, float]:
    """Return the seconds from a request to a registered model of eight weeks of flights, by what takes them."""
    from include import artefact, gatekeeping, registry
    from include.ledger import open_ledger, requests
    from include.training.plan import plan

    os.environ["EVERGREEN_DATA"] = str(folder / "flights")
    os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{folder}/mlflow.db"
    with deliveries_of_their_own("registered"):
        ingest(
            [str(day) for day in days_between(np.datetime64("2013-01-01").item(), np.datetime64("2013-03-11").item())],
            "b",
        )
        pipeline = load_pipeline(PIPELINE)
        found: dict[str, float] = {}
        for turn in ("first", "second"):  # the first one makes MLflow's tables
            began = time.perf_counter()
            with open_ledger() as session:
                request = requests.file_request(
                    session, PIPELINE, reason="bench", triggered_by="hand", key=turn, detail={}
                )
            spec = plan(pipeline, request.id)
            planned = time.perf_counter()
            subprocess.run(
                [sys.executable, "-m", "include.training", spec], cwd=ROOT, stdout=subprocess.DEVNULL, check=True
            )
            trained = time.perf_counter()
            release = gatekeeping.evaluate(pipeline, request.id)
            judged = time.perf_counter()
            registry.register(release)
            ended = time.perf_counter()
            parts = artefact.read_manifest(json.loads(Path(spec).read_text())["folder"])["seconds"]
            found = {
                "all": ended - began,
                "plan": planned - began,
                **parts,
                "rest_of_the_process": trained - planned - sum(parts.values()),
                "evaluate": judged - trained,
                "register": ended - judged,
            }
    return {name: round(seconds, 2) for name, seconds in found.items()}


if __name__ == "__main__":
    mode, *arguments = sys.argv[1:]
    if mode == "shared":
        shared()
    else:
        print(json.dumps({"bare": bare, "streaming": streaming, "checkpoint": checkpoint}[mode](*arguments)))
