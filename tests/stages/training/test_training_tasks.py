"""A multiclass and a regression model from rows to a verified release, on scikit-learn's own data sets."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn import datasets

from include import artefact, gatekeeping, verification
from include.learning.kinds import task_of
from include.learning.metrics import GATE_DEFAULT
from include.learning.task import LABEL, PREDICTION
from include.ledger import open_ledger, releases, requests
from include.pipeline import Pipeline
from include.policy import Gate
from include.recipe import Features, Training
from include.settings import Settings
from include.training.run import train
from include.training.spec import Spec, model_folder
from include.training.store import Stopwatch

DAYS = [f"2020-01-{number:02}" for number in range(1, 21)]
OPTIONS = {"epochs": 12, "batch_size": 32, "hidden": [32], "learning_rate": 0.01, "weight_decay": 0.01}


def digits() -> tuple[pa.Table, Training]:
    """Ten classes; the target is a whole number, as a CSV would give it."""
    data = datasets.load_digits()
    columns = {f"pixel_{number}": values for number, values in enumerate(data.data.T) if values.std() > 0}
    columns["target"] = data.target
    features = Features(numeric=[name for name in columns if name != "target"])
    return in_days(columns), Training(target="target", task="multiclass", features=features, **OPTIONS)


def diabetes() -> tuple[pa.Table, Training]:
    """A number in a unit of its own: from 25 to 346, here in thousands of it."""
    data = datasets.load_diabetes()
    columns = dict(zip(data.feature_names, data.data.T, strict=True)) | {"target": data.target * 1000}
    features = Features(numeric=data.feature_names)
    return in_days(columns), Training(target="target", task="regression", features=features, **OPTIONS)


def in_days(columns: dict[str, np.ndarray]) -> pa.Table:
    size = len(columns["target"])
    order = np.random.default_rng(0).permutation(size)
    dates = {"key": [f"r{number:04}" for number in range(size)], "day": [DAYS[number % 20] for number in range(size)]}
    return pa.table({**dates, **{name: values[order] for name, values in columns.items()}})


@pytest.fixture(params=[digits, diabetes], ids=["multiclass", "regression"])
def trained(
    request: pytest.FixtureRequest,
    settings: Settings,
    rides: Pipeline,
    lake_of: Callable[[pa.Table], None],
    make_spec: Callable[..., Spec],
    monkeypatch: pytest.MonkeyPatch,
) -> tuple[Pipeline, Spec, dict[str, Any]]:
    """A request of a pipeline with that target, and the model that came of it."""
    monkeypatch.setattr("include.lake.tag_snapshot", lambda *_: None)
    table, training = request.param()
    lake_of(table)
    gate = Gate(metric=GATE_DEFAULT[training.task])
    pipeline = rides.model_copy(update={"key": "key", "training": training, "gate": gate})
    with open_ledger() as session:
        asked = requests.file_request(session, "rides", reason="a test", triggered_by="hand", key="one", detail={})
    spec = make_spec(
        request_id=asked.id,
        key="key",
        train_days=(DAYS[0], DAYS[13]),
        holdout_days=(DAYS[14], DAYS[19]),
        training=training,
        folder=model_folder("rides", asked.id),
    )
    return pipeline, spec, train(spec, Stopwatch())


def test_from_rows_to_a_verified_release(trained: tuple[Pipeline, Spec, dict[str, Any]], tmp_path: Path) -> None:
    pipeline, spec, manifest = trained
    task = task_of(manifest)
    holdout = pq.read_table(spec.folder / artefact.HOLDOUT)
    labels = task.encode(holdout[LABEL])

    # The graph answers as PyTorch does, in the shape that was promised.
    assert manifest["parity"] < 1e-5
    shape = [] if spec.training.task == "regression" else [10]
    assert list(task.recorded(holdout).shape) == [len(holdout), *shape]
    (output,) = onnx.load(str(spec.folder / artefact.MODEL)).graph.output
    assert (output.name, len(output.type.tensor_type.shape.dim)) == (PREDICTION, 1 + len(shape))

    # What was judged had not seen the hold-out; what is served has learned from it as well.
    assert (manifest["recipe_days"], manifest["train_days"]) == ([DAYS[0], DAYS[13]], [DAYS[0], DAYS[19]])
    assert task.difference(artefact.judged(holdout, task), task.recorded(holdout)).max() > 0.01

    # It is worth something, and the report says what.
    worth = {"multiclass": ("accuracy", 0.85), "regression": ("r2", 0.3)}[spec.training.task]
    assert manifest["metrics"][worth[0]] > worth[1]
    assert manifest["curves"]["holdout_loss"][-1] < manifest["curves"]["holdout_loss"][0]
    assert len(list((spec.folder / "plots").iterdir())) == 4
    assert f"{worth[0]} {manifest['metrics'][worth[0]]:.4f}" in (spec.folder / "card.md").read_text()
    assert manifest["labels"] == pytest.approx(task.summary(task.encode(holdout[LABEL])), rel=0.5, abs=0.05)

    # The gate finds it better than the constant prediction, and the deployment the very answers of the training.
    release_id = gatekeeping.evaluate(pipeline, spec.request_id)
    verification.verify(release_id)
    with open_ledger() as session:
        release = releases.get_release(session, release_id)
    assert release.status == "approved", release.note
    assert release.note.startswith(f"Passed: {pipeline.gate.metric}")
    assert release.metrics[pipeline.gate.metric] == pytest.approx(manifest["metrics"][pipeline.gate.metric])
    assert release.gate["rows"] == len(labels)

    # Nothing of it is chance.
    assert train(spec.model_copy(update={"folder": tmp_path / "again"}), Stopwatch())["sha256"] == manifest["sha256"]
