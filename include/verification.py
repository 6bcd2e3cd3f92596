"""This file makes sure that a release is the very model that was registered, and answers as it did in training."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from include.artefact import HOLDOUT, features_of, load_session, predict, read_manifest
from include.errors import ArtefactError
from include.learning.kinds import task_of
from include.ledger import Release, open_ledger, releases

log = logging.getLogger(__name__)

TOLERANCE = 1e-6
VERIFIED_ROWS = 5_000


def verify(release_id: str) -> None:
    """Load a release's model and compare its answers on held-out rows with those recorded in training.

    :raises ArtefactError: if the file was altered, or an answer differs by more than one millionth; the release has
        failed then, for good.
    """
    with open_ledger() as session:
        release = releases.get_release(session, release_id)
    try:
        _reproduce(release)
    except ArtefactError as error:
        with open_ledger() as session:
            releases.give_up_promotion(session, release_id, note=str(error))
        raise


def _reproduce(release: Release) -> None:
    manifest = read_manifest(release.model_uri)
    features, task = features_of(manifest), task_of(manifest)
    model = load_session(release.model_uri, release.sha256)
    path = Path(release.model_uri) / HOLDOUT
    try:
        columns = [*features.names, *(field.name for field in task.fields)]
        rows = next(pq.ParquetFile(path).iter_batches(VERIFIED_ROWS, columns=columns))
    except (OSError, StopIteration) as error:
        raise ArtefactError(f"{path}: no recorded predictions to compare with ({error!r}). Train again.") from error
    found = predict(model, {name: rows.column(name).to_pylist() for name in features.names}, features)
    recorded = task.recorded(rows)
    # A NaN on either side is a difference, too.
    wrong = ~(task.difference(found, recorded) <= TOLERANCE).reshape(len(found), -1).all(axis=1)
    if wrong.any():
        row = int(np.argmax(wrong))
        raise ArtefactError(
            f"{path}: {int(wrong.sum())} of {len(found)} predictions differ from the recorded ones by more than "
            f"{TOLERANCE}; row {row}: recorded {_told(recorded[row])}, found {_told(found[row])}. "
            "Train the model again."
        )
    log.info("%s reproduces %s recorded predictions.", release.id, len(found))


def _told(prediction: Any) -> str:
    return " ".join(f"{value:.8f}" for value in np.atleast_1d(prediction))
