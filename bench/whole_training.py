"""This file measures whole trainings: their peak of memory, and what takes the seconds of one."""

import json
import os
import subprocess
import sys
import time
from datetime import date
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from bench.night import PIPELINE, deliveries_of_their_own, ingest
from include.config import load_pipeline
from include.partition import days_between
from include.recipe import Features, Training
from include.settings import ROOT
from include.training.spec import Spec

NUMBERS, WORDS = [f"n{number}" for number in range(12)], list("abcd")
TRAINING = Training(
    target="late", features=Features(numeric=NUMBERS, categorical=WORDS), epochs=1, batch_size=1024, refit=False
)


def peak_of(folder: Path, num_days: int) -> float:
    """Return the most memory (MB, resident) of a whole training on so many days of 5,000 rows."""
    (folder / "rows").mkdir(parents=True)
    days = [str(np.datetime64("2020-01-01") + number) for number in range(num_days + 4)]
    for number, day in enumerate(days):
        random, size = np.random.default_rng(number), 5000
        numbers = {name: random.standard_normal(size) for name in NUMBERS}
        words = {name: random.choice(["x", "y", "z"], size) for name in WORDS}
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
        training=TRAINING,
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


def breakdown(folder: Path) -> dict[str, float]:
    """Return the seconds from a request to a registered model of eight weeks of flights, by what takes them."""
    from include import artefact, gatekeeping, registry
    from include.ledger import open_ledger, requests
    from include.training.plan import plan

    os.environ["EVERGREEN_DATA"] = str(folder / "flights")
    os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{folder}/mlflow.db"
    with deliveries_of_their_own("registered"):
        ingest(days_between(date(2013, 1, 1), date(2013, 3, 11)), "bench")
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
