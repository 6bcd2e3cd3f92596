import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from include import artefact
from include.settings import Settings
from include.training import __main__ as entry
from include.training.export import export
from include.training.finished import is_finished
from include.training.run import train
from include.training.spec import Spec
from include.training.store import Stopwatch


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Keep what would have gone to MLflow."""
    logged: list[dict[str, Any]] = []

    def log_training(folder: Path, manifest: dict[str, Any]) -> str:
        logged.append(dict(manifest, files=sorted(str(path.relative_to(folder)) for path in folder.rglob("*.*"))))
        return "run-1"

    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:1")
    monkeypatch.setattr("include.registry.log_training", log_training)
    return logged


@pytest.fixture(scope="module")
def export_once() -> Callable[..., bytes]:
    """Export the first network only: the same training gives the same one, which `check_same` then proves."""
    exported: list[bytes] = []

    def once(*args: Any) -> bytes:
        if not exported:
            exported.append(export(*args))
        return exported[0]

    return once


@pytest.fixture
def spec(  # noqa: PLR0913 - fixtures
    settings: Settings,
    rides_yaml: str,
    rows: pa.Table,
    make_spec: Callable[..., Spec],
    lake_of: Callable[[pa.Table], None],
    runs: Any,
    export_once: Callable[..., bytes],
    monkeypatch: pytest.MonkeyPatch,
) -> Spec:
    (settings.pipelines / "rides.yaml").write_text(rides_yaml + "gate: {slices: [carrier], min_slice_rows: 50}\n")
    lake_of(rows)
    monkeypatch.setattr("include.training.export.export", export_once)
    return make_spec()


@pytest.fixture
def manifest(spec: Spec) -> dict[str, Any]:
    return train(spec, Stopwatch())


def test_the_folder_holds_what_serving_gate_and_monitoring_need(
    spec: Spec, manifest: dict[str, Any], runs: list[dict[str, Any]]
) -> None:
    holdout, reference = (pq.read_table(spec.folder / name) for name in (artefact.HOLDOUT, artefact.REFERENCE))
    session = artefact.load_session(spec.folder, manifest["sha256"])
    asked = artefact.predict(session, holdout.to_pydict(), spec.training.features)

    assert artefact.read_manifest(spec.folder) == manifest
    np.testing.assert_allclose(asked, holdout["prediction"], atol=1e-6)
    assert holdout.column_names == ["ride_id", "day", "label", *spec.training.features.names, "prediction"]
    assert reference.column_names == holdout.column_names
    assert len(reference) == 200
    assert max(reference["day"].to_pylist()) <= spec.train_days[1]
    assert holdout["distance"].null_count > 0
    assert {path.name for path in (spec.folder / "plots").iterdir()} == {
        "roc.png",
        "calibration.png",
        "confusion.png",
        "importance.png",
        "loss.png",
    }
    card = (spec.folder / "card.md").read_text()
    assert "`77`" in card
    assert "| `carrier` | rows | auc | log_loss | brier | accuracy |" in card
    assert {path.name for path in spec.folder.parent.iterdir()} == {spec.folder.name, spec.work.name}
    assert list(spec.work.iterdir()) == []
    assert "model.onnx" in runs[0]["files"]
    assert manifest["tracking_run"] == "run-1"


def test_the_manifest_says_what_was_learned_from(manifest: dict[str, Any], spec: Spec) -> None:
    assert manifest["features"] == spec.training.features.model_dump()
    assert manifest["categories"]["carrier"] == ["", "AA", "B6", "UA"]
    assert set(manifest["ranges"]) == {"distance", "humidity"}
    assert manifest["metrics"]["auc"] > 0.7
    assert set(manifest["slices"]["carrier"]) == {"AA", "B6", "UA"}
    assert len(manifest["losses"]) == spec.training.epochs
    assert {"data", "steps", "export", "report", "mlflow"} <= set(manifest["seconds"])
    json.dumps(manifest, allow_nan=False)


def test_the_same_spec_gives_the_same_file(
    spec: Spec, manifest: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("include.training.export.export", export)

    again = train(spec.model_copy(update={"folder": tmp_path / "again"}), Stopwatch())

    assert again["sha256"] == manifest["sha256"]
    assert again["losses"] == manifest["losses"]


def test_a_finished_model_is_not_trained_again(
    spec: Spec, manifest: dict[str, Any], runs: list[dict[str, Any]], tmp_path: Path
) -> None:
    path = tmp_path / "spec.json"
    path.write_text(spec.model_dump_json())

    entry.main([str(path)])

    assert len(runs) == 1
    assert artefact.read_manifest(spec.folder) == manifest


def test_an_altered_or_half_written_model_does_not_count_as_finished(spec: Spec, manifest: dict[str, Any]) -> None:
    assert is_finished(spec)
    assert not is_finished(spec.model_copy(update={"request_id": "rides.first.two"}))

    model = spec.folder / artefact.MODEL
    model.write_bytes(model.read_bytes() + b"x")
    assert not is_finished(spec)

    (spec.folder / artefact.MANIFEST).unlink()
    assert not is_finished(spec)


def test_an_altered_model_is_replaced(spec: Spec, manifest: dict[str, Any]) -> None:
    (spec.folder / artefact.MODEL).write_bytes(b"")

    train(spec, Stopwatch())

    assert is_finished(spec)


def test_a_training_that_fails_keeps_what_the_next_try_goes_on_from(
    spec: Spec, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr("include.training.report.write_report", raising(RuntimeError("no disk")))
        with pytest.raises(RuntimeError, match="no disk"):
            train(spec, Stopwatch())
    assert list(spec.folder.parent.iterdir()) == [spec.work]
    assert list(spec.work.iterdir()) == [spec.scratch]

    monkeypatch.setattr("include.lake.clean_days", raising(RuntimeError("read again")))
    assert train(spec, Stopwatch())["metrics"]["auc"] > 0.7
    assert list(spec.work.iterdir()) == []


def test_nothing_is_left_behind_by_bad_data(spec: Spec, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("include.training.report.write_report", raising(ValueError("strange")))

    with pytest.raises(ValueError, match="strange"):
        train(spec, Stopwatch())
    assert list(spec.work.iterdir()) == []
    assert not spec.folder.exists()


def raising(error: Exception) -> Callable[..., None]:
    def fail(*_args: Any) -> None:
        raise error

    return fail
