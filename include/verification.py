"""This file turns the second key: before any traffic, a release has to prove itself in an endpoint of its own.

The gate says that a model is good; this says that it is the registered one, answers over HTTP as it did in training,
quickly enough, and how far its answers lie from the champion's to what the endpoint was asked lately.
"""

import logging
import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from include import captures
from include.artefact import HOLDOUT, features_of, read_manifest
from include.config import load_pipeline
from include.errors import ArtefactError, EndpointError, RolloutError
from include.learning.kinds import task_of
from include.learning.scoring import Floats
from include.learning.task import PREDICTION, Task
from include.ledger import Release, open_ledger, releases
from include.models import folder_of
from include.observation import shift_of
from include.pipeline import ANSWER_VERSION
from include.settings import load_settings
from include.throwaway import endpoint_for

log = logging.getLogger(__name__)

TOLERANCE = 1e-6
VERIFIED_ROWS = 5_000
REPLAYED_ROWS = 2_000
ROWS_AT_ONCE = 200
TIMED_REQUESTS = 100
QUANTILE = 0.95  # of a hundred single requests; their slowest few are the machine's

Rows = list[dict[str, Any]]


def verify(release_id: str) -> None:
    """Serve a release to nobody, compare its answers on held-out rows with those of training, and replay captures.

    What was seen is kept in the release's `rollout`.

    :raises ArtefactError: if the file was altered, or an answer differs by more than one millionth; the release has
        failed then, for good.
    :raises RolloutError: if it is slower than the pipeline's latency budget; it has failed then, too.
    :raises EndpointError: if its process dies; another try may succeed.
    """
    with open_ledger() as session:
        release = releases.get_release(session, release_id)
        champion = releases.champion_of(session, release.pipeline)
    try:
        with endpoint_for(release) as client:
            seen = {"verified": _reproduce(client, release), "replay": _replay(client, release, champion)}
    except (ArtefactError, RolloutError) as error:
        with open_ledger() as session:
            releases.give_up_promotion(session, release_id, note=str(error))
        raise
    log.info("%s: %s", release_id, seen)
    with open_ledger() as session:
        releases.keep_rollout(session, release_id, **seen)


def _reproduce(client: httpx.Client, release: Release) -> dict[str, float]:
    manifest = read_manifest(release.model_uri)
    task, names = task_of(manifest), features_of(manifest).names
    path = folder_of(release.model_uri) / HOLDOUT
    try:
        columns = [*names, *(field.name for field in task.fields)]
        recorded = next(pq.ParquetFile(path).iter_batches(VERIFIED_ROWS, columns=columns))
    except (OSError, StopIteration) as error:
        raise ArtefactError(f"{path}: no recorded predictions to compare with ({error!r}). Train again.") from error
    rows = _as_json(recorded, names)
    kept, found = _ask(client, release, rows, task)
    if not kept:
        raise ArtefactError(f"{path}: the endpoint refuses all of its {len(rows)} rows. Train again.")
    _check_same(path, kept, found, task.recorded(recorded.take(pa.array(kept))), task)
    slow = _milliseconds(client, release, [rows[row] for row in kept[:TIMED_REQUESTS]])
    budget = load_pipeline(release.pipeline).rollout.latency_budget_ms
    if slow > budget:
        raise RolloutError(
            f"{release.id} takes {slow:.0f} ms for one in {1 / (1 - QUANTILE):.0f} single requests, at most {budget:g} "
            "are allowed ('rollout.latency_budget_ms'). Use a smaller model, or allow more."
        )
    return {"rows": len(kept), "refused": len(rows) - len(kept), "p95_ms": round(slow, 2)}


def _check_same(path: Path, rows: Sequence[int], found: Floats, recorded: Floats, task: Task) -> None:
    # A NaN on either side is a difference, too.
    wrong = ~(task.difference(found, recorded) <= TOLERANCE).reshape(len(found), -1).all(axis=1)
    if wrong.any():
        row = int(np.argmax(wrong))
        raise ArtefactError(
            f"{path}: {int(wrong.sum())} of {len(found)} predictions differ from the recorded ones by more than "
            f"{TOLERANCE}; row {rows[row]}: recorded {_told(recorded[row])}, found {_told(found[row])}. "
            "Train the model again."
        )


def _replay(client: httpx.Client, release: Release, champion: Release | None) -> dict[str, Any]:
    """Ask again what the champion was asked last, and return how far the answers lie apart."""
    pipeline = load_pipeline(release.pipeline)
    if champion is None or champion.id == release.id or pipeline.rollout.shadow == "none":
        return {}
    manifest = read_manifest(release.model_uri)
    task, names = task_of(manifest), features_of(manifest).names
    asked = _captured(release.pipeline, champion.version, [*names, PREDICTION])
    if not len(asked):
        return {"rows": 0}
    kept, found = _ask(client, release, _as_json(asked, names), task)
    answers = pa.table({PREDICTION: task.columns(found)[PREDICTION]})
    champions = asked.select([PREDICTION]).take(pa.array(kept))
    return {
        "rows": len(kept),
        "refused": len(asked) - len(kept),
        "shift": shift_of(answers, champions),
        "differ": _share_that_differs(answers[PREDICTION], champions[PREDICTION], task),
    }


def _share_that_differs(found: pa.ChunkedArray, before: pa.ChunkedArray, task: Task) -> float:
    if pa.types.is_floating(before.type):
        apart = np.abs(found.to_numpy() - before.to_numpy()) > 0.1 * task.scale
        return float(apart.mean())
    return float(pc.mean(pc.not_equal(found.combine_chunks(), before.combine_chunks()).cast(pa.float64())).as_py())


def _captured(pipeline_name: str, version: int, columns: list[str]) -> pa.Table:
    """Return the newest captured rows that a version has answered; none if they lack a column that is new."""
    found, num_rows = [pa.table({name: pa.array([], pa.null()) for name in columns})], 0
    for folder in sorted((load_settings().lake / pipeline_name / "predictions").glob("day=*"), reverse=True):
        for path in reversed(captures.captured_files(folder)):
            if num_rows >= REPLAYED_ROWS:
                break
            file = pq.ParquetFile(path)
            if set(columns) <= set(file.schema_arrow.names):
                rows = file.read(columns=[*columns, ANSWER_VERSION])
                rows = rows.filter(pc.equal(rows[ANSWER_VERSION], version)).select(columns)
                num_rows += len(rows)
                found.append(rows)
    return pa.concat_tables(found, promote_options="permissive").slice(0, REPLAYED_ROWS)


def _ask(client: httpx.Client, release: Release, rows: Rows, task: Task) -> tuple[list[int], Floats]:
    """Return which rows were answered, and the answers; a row that no model could take is left out."""
    kept: list[int] = []
    answers: Rows = []
    for start in range(0, len(rows), ROWS_AT_ONCE):
        numbers = list(range(start, min(start + ROWS_AT_ONCE, len(rows))))
        while numbers:
            answer = client.post(f"/invocations/{release.pipeline}", json={"instances": [rows[row] for row in numbers]})
            if answer.status_code == httpx.codes.UNPROCESSABLE_ENTITY and answer.json()["row"] is not None:
                numbers.pop(answer.json()["row"])
                continue
            if not answer.is_success:
                raise EndpointError(f"{release.id} answers {answer.status_code}: {answer.text[:500]}")
            answers += answer.json()["predictions"]
            kept += numbers
            break
    fields = {field.name: [_as_kept(each[field.name]) for each in answers] for field in task.fields}
    return kept, task.recorded(pa.table(fields, schema=pa.schema(task.fields)))


def _milliseconds(client: httpx.Client, release: Release, rows: Rows) -> float:
    taken = []
    for row in rows:
        began = time.perf_counter()
        client.post(f"/invocations/{release.pipeline}", json={"instances": [row]}).raise_for_status()
        taken.append((time.perf_counter() - began) * 1000)
    return float(np.quantile(taken, QUANTILE))


def _as_json(table: pa.Table | pa.RecordBatch, names: list[str]) -> Rows:
    columns = [[_or_null(value) for value in table.column(name).to_pylist()] for name in names]
    return [dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True)]


def _or_null(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _as_kept(value: Any) -> Any:
    return list(value.items()) if isinstance(value, dict) else value


def _told(prediction: Any) -> str:
    return " ".join(f"{value:.8f}" for value in np.atleast_1d(prediction))
