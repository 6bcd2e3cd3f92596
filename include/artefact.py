"""This file reads a model artefact: one ONNX graph, and a manifest that says what it is. It loads nothing else."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime
import pyarrow as pa

from include import models
from include.errors import ArtefactError
from include.features import OUTPUT, model_inputs
from include.learning.scoring import Floats
from include.learning.task import Task
from include.recipe import Features

MODEL = "model.onnx"
MANIFEST = "manifest.json"
HOLDOUT = "holdout.parquet"
REFERENCE = "reference.parquet"
JUDGED = "judged_"  # before the name of an answer's column: what the gate is to judge, where that differs


def read_manifest(folder: Path | str) -> dict[str, Any]:
    """Return what is said about the model in a folder, on this disk or in an object store.

    :raises ArtefactError: if there is no readable manifest.
    """
    path = models.folder_of(folder) / MANIFEST
    try:
        manifest: dict[str, Any] = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise ArtefactError(f"{path}: no readable manifest ({error}). Train the model again.") from error
    return manifest


def features_of(manifest: Mapping[str, Any]) -> Features:
    """Return the raw columns that the manifest's model takes."""
    return Features.model_validate(manifest["features"])


def judged(holdout: pa.Table, task: Task) -> Floats:
    """Return the held-out answers that the gate judges.

    They are the model's own, unless it has learned from these days in the end (a refit, a recalibration): then they
    are what the same recipe answered without having seen each row's day.
    """
    names = [field.name for field in task.fields]
    if JUDGED + names[0] not in holdout.column_names:
        return task.recorded(holdout)
    return task.recorded(pa.table({name: holdout[JUDGED + name] for name in names}))


def with_answers(table: pa.Table, task: Task, predictions: Floats, *, prefix: str = "") -> pa.Table:
    """Return rows with their answers as columns."""
    for name, values in task.columns(predictions).items():
        table = table.append_column(prefix + name, values)
    return table


def sha256_of(content: bytes) -> str:
    """Return the fingerprint by which an artefact is known."""
    return hashlib.sha256(content).hexdigest()


def load_session(folder: Path | str, sha256: str) -> onnxruntime.InferenceSession:
    """Load a folder's model, after making sure that it is the very file that was registered.

    The bytes that were checked are the bytes that are loaded: the file is read once.

    :raises ArtefactError: if the file is missing, is another one, or is no ONNX model.
    """
    return session_of(read_checked(folder, sha256), name=f"{folder}/{MODEL}")


def read_checked(folder: Path | str, sha256: str) -> bytes:
    """Return the bytes of a folder's model, if they are those that were registered.

    :raises ArtefactError: if the file is missing or is another one.
    """
    path = models.folder_of(folder) / MODEL
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ArtefactError(
            f"{path}: the model cannot be read ({error}). Restore the file or promote another one."
        ) from error
    found = sha256_of(content)
    if found != sha256:
        raise ArtefactError(
            f"{path}: sha256 is {found}, expected {sha256}. The file was altered after training: it is not loaded. "
            "Train again, or promote another version."
        )
    return content


def session_of(content: bytes, *, name: str = "model") -> onnxruntime.InferenceSession:
    """Turn the bytes of an ONNX graph into something that predicts.

    :raises ArtefactError: if ONNX Runtime refuses them.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = (
        1  # More threads wait for each other by spinning, which starves whatever runs beside.
    )
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(content, sess_options=options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's errors have no common class of their own.
        raise ArtefactError(f"{name}: ONNX Runtime refuses it ({error}). Train the model again.") from error


def predict(
    session: onnxruntime.InferenceSession,
    columns: Mapping[str, Sequence[Any] | npt.NDArray[Any]],
    features: Features,
    *,
    is_strict: bool = False,
) -> npt.NDArray[np.float32]:
    """Return one answer per row of the raw columns: [rows], or [rows, classes] from a multiclass model.

    :raises BadValueError: if it is strict, and a picture is none.
    """
    inputs = model_inputs(columns, features, is_strict=is_strict)
    predictions: npt.NDArray[np.float32] = session.run([OUTPUT], inputs)[0]
    return predictions
