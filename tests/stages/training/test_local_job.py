"""The entry point as a process of its own: from a file, from the environment, by SageMaker's folders; killed, found."""

import json
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from evergreen.operators.train import TrainModelOperator

from include import artefact
from include.accelerators import Accelerator
from include.errors import BadTrainingInputError, TrainingInterruptedError
from include.ledger import jobs, open_ledger
from include.platforms import ordering
from include.platforms.base import Job, Order
from include.platforms.local import Local, find
from include.settings import ROOT
from include.training.outcome import BAD_INPUT, RESUME
from include.training.spec import Spec
from tests.warm import TRAININGS


@pytest.fixture
def spec(rides: Any, rows: pa.Table, make_spec: Callable[..., Spec], tmp_path: Path) -> Spec:
    """A spec whose rows lie in a folder, so that a process of its own finds them."""
    (tmp_path / "rows").mkdir()
    pq.write_table(rows.slice(0, 900), tmp_path / "rows" / "a.parquet")
    pq.write_table(rows.slice(900), tmp_path / "rows" / "b.parquet")
    return make_spec(rows=tmp_path / "rows", folder=tmp_path / "models" / "rides.first.one", snapshot_id=None)


def slow(spec: Spec, **changes: Any) -> Spec:
    training = spec.training.model_copy(update={"epochs": 200, "checkpoint_seconds": 0.2})
    return spec.model_copy(update={"training": training, **changes})


def write(spec: Spec) -> str:
    path = spec.work / "spec.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(spec.model_dump_json())
    return str(path)


def run(*arguments: str, **env: str) -> tuple[int, str]:
    told = os.environ | {"PYTHONPATH": str(ROOT)} | env
    return TRAININGS.start(["-m", "include.training", *arguments], told).keep_output().finish()


def wait_for(condition: Callable[[], bool], seconds: float = 240) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.05)


def test_a_spec_in_the_environment_makes_a_model(spec: Spec) -> None:
    code, told = run(EVERGREEN_SPEC=spec.model_dump_json())

    assert code == 0, told
    manifest = artefact.read_manifest(spec.folder)
    assert manifest["metrics"]["auc"] > 0.7
    assert manifest["tracking_run"] == "", "nobody tracks it here"
    assert (spec.work / "outcome").read_text() == "0"
    assert "nothing to train" in run(EVERGREEN_SPEC=spec.model_dump_json())[1]


def test_sagemaker_s_folders_and_hyper_parameters_are_obeyed(spec: Spec, tmp_path: Path) -> None:
    channel, model = tmp_path / "channel", tmp_path / "opt" / "model"
    channel.mkdir()
    (channel / "spec.json").write_text(spec.model_copy(update={"rows": None}).model_dump_json())

    code, told = run(
        SM_CHANNEL_SPEC=str(channel),
        SM_CHANNEL_ROWS=str(spec.rows),
        SM_MODEL_DIR=str(model),
        SM_CHECKPOINT_DIR=str(tmp_path / "checkpoints"),
        SM_HPS=json.dumps({"epochs": 2, "learning_rate": 0.01}),
    )

    assert code == 0, told
    manifest = artefact.read_manifest(model)
    assert (manifest["parameters"]["epochs"], manifest["parameters"]["learning_rate"]) == (2, 0.01)
    assert len(manifest["losses"]) == 2


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        ({"EVERGREEN_SPEC": "{}"}, "$EVERGREEN_SPEC: not a training spec"),
        ({}, "No spec: name a file"),
    ],
)
def test_without_a_usable_spec_another_try_would_end_the_same(harm: dict[str, str], said: str) -> None:
    code, told = run(**harm)

    assert code == BAD_INPUT
    assert said in told


def test_two_processes_make_one_model(spec: Spec) -> None:
    shared = spec.model_copy(update={"accelerator": Accelerator(processes=2)})

    code, told = run(write(shared))

    assert code == 0, told
    assert artefact.read_manifest(spec.folder)["metrics"]["auc"] > 0.7


def order(spec: Spec, attempt: int = 1) -> Order:
    return Order(f"rides-{attempt}", spec, datetime.now(UTC) + timedelta(hours=1))


def test_a_job_is_found_again_and_a_killed_one_goes_on(spec: Spec) -> None:
    asked, local = slow(spec), Local()
    job = local.submit(order(asked))
    assert local.submit(order(asked)) == job

    wait_for(lambda: any(asked.scratch.glob("checkpoints/*/*.npz")))
    local.stop(job)
    assert local.status(job).state == "failed"

    again = local.submit(order(asked, 2))
    lines = list(local.follow(again))
    assert again.detail["pid"] != job.detail["pid"]
    assert any(line.startswith("Go on from step") for line in lines)
    assert len(artefact.read_manifest(spec.folder)["losses"]) == 200


def test_one_whose_submitter_died_before_it_was_noted_is_found_by_its_mark(spec: Spec) -> None:
    asked = order(slow(spec))
    job = Local().submit(asked)
    (spec.work / "job.json").unlink()
    nobody_noted = Job(job.name)

    assert Local().status(nobody_noted).state == "running"
    assert Local().submit(asked).detail["pid"] == job.detail["pid"]
    Local().stop(nobody_noted)
    assert Local().status(job).state != "running"


def test_one_that_is_asked_to_end_says_resume(spec: Spec) -> None:
    local = Local()
    for number, shared in enumerate((False, True)):
        asked = slow(spec, accelerator=Accelerator(processes=2 if shared else 1))
        job = local.submit(order(asked, number))
        wait_for(lambda asked=asked: any(asked.scratch.glob("checkpoints/*/*.npz")))

        os.kill(job.detail["pid"], 15)

        assert "to go on from there" in "".join(local.follow(job))
        assert (asked.work / "outcome").read_text() == str(RESUME)


@pytest.fixture
def operator(rides: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[[Spec], TrainModelOperator]:
    monkeypatch.setattr("include.retraining.hold_back", lambda _request: None)

    def make(spec: Spec) -> TrainModelOperator:
        monkeypatch.setattr("include.platforms.ordering.plan", lambda *_: write(spec))
        monkeypatch.setattr("include.platforms.ordering.model_folder", lambda *_: spec.folder)
        return TrainModelOperator(task_id="train", pipeline_name="rides", request_id="rides.first.one")

    return make


def statuses() -> list[str]:
    with open_ledger() as session:
        return [row.status for row in jobs.attempts_of(session, "rides.first.one")]


def test_the_next_try_after_a_worker_s_crash_follows_the_same_job(
    spec: Spec, rides: Any, operator: Callable[[Spec], TrainModelOperator]
) -> None:
    asked = slow(spec)
    task = operator(asked)
    crashed = ordering.order(rides, "rides.first.one")
    crashed.submit()  # and then its worker died

    task.execute({})

    assert find(asked) == crashed.job
    assert len(artefact.read_manifest(spec.folder)["losses"]) == 200
    assert statuses() == ["succeeded"]


def test_a_kill_takes_the_job_down_and_an_interruption_is_tried_again(
    spec: Spec, rides: Any, operator: Callable[[Spec], TrainModelOperator]
) -> None:
    task, local = operator(slow(spec)), Local()
    task._ordered = ordering.order(rides, "rides.first.one")
    task._ordered.submit()
    job = task._ordered.job
    task.on_kill()
    assert local.status(job).state == "failed"

    with ThreadPoolExecutor() as pool:
        cleared = pool.submit(task.execute, {})
        wait_for(lambda: any(slow(spec).scratch.glob("checkpoints/*/*.npz")))
        os.kill(find(slow(spec)).detail["pid"], 15)
        with pytest.raises(TrainingInterruptedError, match="was asked to end"):
            cleared.result()
    assert statuses() == ["stopped", "interrupted"]


def test_bad_data_are_not_tried_again(spec: Spec, operator: Callable[[Spec], TrainModelOperator]) -> None:
    broken = spec.model_copy(update={"training": spec.training.model_copy(update={"model": "no.such:model"})})

    with pytest.raises(BadTrainingInputError, match="no.such:model"):
        operator(broken).execute({})
    assert statuses() == ["refused"]
