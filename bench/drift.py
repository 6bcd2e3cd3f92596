"""This file measures what a night's check costs for a thousand and for a million answers: about the same.

Seconds are the process's own (CPU): those of the wall would measure what else a shared machine is doing.

python -m bench drift            measures, and writes bench/results.json
python -m bench.drift STEP ID    takes one step of publication ID's check in this process, and prints what it took
"""

import json
import os
import statistics
import subprocess
import sys
import time
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from bench.night import PIPELINE, deliveries_of_their_own, ingest
from bench.season import NOBODY, train_on
from include import artefact, lake, publication
from include.catalog import open_table
from include.config import load_pipeline
from include.learning.kinds import task_of
from include.ledger import Release
from include.monitoring import measuring, windows
from include.partition import days_between, run_key_of
from include.pipeline import ANSWER_DAY, ANSWER_ID, ANSWER_VERSION, ANSWERED_AT
from include.serving.capture import FLUSH_ROWS, capture_schema
from include.settings import ROOT, load_settings
from include.training.data import feature_columns

LEARNED = ("2013-01-01", "2013-02-25"), ("2013-02-26", "2013-03-11")
SIZES = {"2013-03-13": 1_000, "2013-03-14": 1_000_000}  # a day each
WARM = "2013-03-12"
REPEATS = 3


def measure() -> dict[str, Any]:
    """Return seconds and memory of the check by number of answers, and the ratios between the two.

    Collecting reads keys, versions and labels of all answers and grows with them; what it hands on is bounded.
    """
    with deliveries_of_their_own("drift"):
        os.environ["MLFLOW_TRACKING_URI"] = NOBODY
        ingest(days_between(date(2013, 1, 1), date(2013, 3, 11)), "winter")
        release = train_on(*LEARNED)
        published = {day: _served_day(day, rows, release) for day, rows in {WARM: 900, **SIZES}.items()}
        taken: dict[str, list[dict[str, float]]] = {day: [] for day in SIZES}
        _in_processes_of_their_own(published[WARM])  # what is computed once per model is there then
        for _ in range(REPEATS):
            for day in SIZES:
                taken[day].append(_in_processes_of_their_own(published[day]))
    small, large = (
        {name: round(statistics.median(each[name] for each in found), 3) for name in found[0]}
        for found in taken.values()
    )
    return {
        "rows_1e3": small,
        "rows_1e6": large,
        "seconds_1e6_over_1e3": round(large["check_seconds"] / small["check_seconds"], 2),
        "memory_1e6_over_1e3": round(large["check_peak_mb"] / small["check_peak_mb"], 2),
        "collect_extra_seconds_per_1e6": round(large["collect_seconds"] - small["collect_seconds"], 2),
        "collect_memory_1e6_over_1e3": round(large["collect_peak_mb"] / small["collect_peak_mb"], 2),
    }


def _in_processes_of_their_own(publication_id: str) -> dict[str, float]:
    """Return what each task of the check took, in a process as Airflow gives it one."""
    found: dict[str, float] = {}
    for step in ("collect", "check"):
        command = [sys.executable, "-m", "bench.drift", step, publication_id]
        done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
        found |= json.loads(done.stdout.splitlines()[-1])
    return found


def _served_day(day: str, num_rows: int, release: Release) -> str:
    """Publish a day of so many flights, drawn from March's, with the answers that the model gives to them."""
    pipeline, table = load_pipeline(PIPELINE), open_table(PIPELINE)
    if table is None:
        raise RuntimeError("Nothing was published.")
    rows = lake.read_clean(PIPELINE, "2013-03-01", "2013-03-11", table.schema().column_names)
    rows = rows.take(np.random.default_rng(num_rows).integers(0, len(rows), num_rows))
    keys = pa.array(np.char.add(f"{day}-", np.arange(num_rows).astype(str)).astype(object), pa.string())
    rows = rows.set_column(rows.column_names.index(pipeline.key), pipeline.key, keys)
    days = pa.array([date.fromisoformat(day)] * num_rows, pa.date32())
    rows = rows.set_column(rows.column_names.index(pipeline.date), pipeline.date, days)
    folder = load_settings().lake / PIPELINE / "staged" / f"bench-{day}"
    file = folder / "data" / f"_p={day}" / "part-0.parquet"
    file.parent.mkdir(parents=True)
    pq.write_table(rows, file)
    facts = {"rows": num_rows, "labelled": num_rows, "quarantined": 0, "files": [str(file)]}
    staged = folder / "staged.json"
    staged.write_text(json.dumps({"folder": str(folder), "days": {day: facts}, "rules": {}}))
    _answer(day, rows, release)
    verdict = {"passed": [day], "refused": {}, "reports": {}}
    published = publication.publish(pipeline, str(staged), verdict, f"bench-{day}")
    if published is None:
        raise RuntimeError(f"{day} was not published.")
    return published


def _answer(day: str, rows: pa.Table, release: Release) -> None:
    """Write the model's answers as the endpoint captures them, 5,000 a file."""
    pipeline, manifest = load_pipeline(PIPELINE), artefact.read_manifest(release.model_uri)
    features, task = artefact.features_of(manifest), task_of(manifest)
    session = artefact.load_session(release.model_uri, release.sha256)
    schema = capture_schema(pipeline.key, features, task)
    folder = load_settings().lake / PIPELINE / "predictions" / f"day={day}"
    folder.mkdir(parents=True)
    for begin in range(0, len(rows), FLUSH_ROWS):
        part = rows.slice(begin, FLUSH_ROWS)
        columns = {name: part[name] for name in [pipeline.key, *features.names]}
        columns |= {
            ANSWER_ID: pa.array([f"{day}-{begin + number:032}" for number in range(len(part))]),
            ANSWER_DAY: pa.array([day] * len(part)),
            ANSWER_VERSION: pa.array([release.version] * len(part)),
            ANSWERED_AT: pa.array([datetime.now(UTC)] * len(part), pa.timestamp("us", tz="UTC")),
            **task.columns(artefact.predict(session, feature_columns(part, features), features)),
        }
        table = pa.table([columns[name] for name in schema.names], schema.names).cast(schema)
        pq.write_table(table, folder / f"{begin:09}.parquet")


def take(step: str, publication_id: str) -> dict[str, float]:
    """Take one step of a publication's check in a process that has imported all, as a warm worker has."""
    import evidently.presets  # noqa: F401, PLC0415

    pipeline = load_pipeline(PIPELINE)
    joined = load_settings().lake / PIPELINE / "runs" / run_key_of(publication_id) / "windows.parquet"
    began = time.process_time()
    if step == "collect":
        windows.collect(pipeline, publication_id)
    else:
        measuring.measure(pipeline, str(joined))
    seconds = time.process_time() - began
    return {f"{step}_seconds": round(seconds, 3), f"{step}_peak_mb": round(_peak_kilobytes() / 1024)}


def _peak_kilobytes() -> int:
    # `ru_maxrss` would be that of the process which started this one, where that was larger.
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))


if __name__ == "__main__":
    sys.stdout.write(json.dumps(take(*sys.argv[1:])) + "\n")
