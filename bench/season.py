"""This file ingests days of the shipped flights and trains models on them, without services: in this process alone."""

from pathlib import Path

from bench.night import PIPELINE
from include import lake
from include.config import load_pipeline
from include.ledger import Release, open_ledger, releases
from include.training.run import train
from include.training.spec import Spec, model_folder
from include.training.store import Stopwatch

# Training tells MLflow what it did; where nobody listens it goes on, and what MLflow takes is not measured here.
NOBODY = "http://127.0.0.1:9"


def train_on(train_days: tuple[str, str], holdout_days: tuple[str, str]) -> Release:
    """Train on published days and enter the model in the ledger as a release that nobody serves yet."""
    pipeline = load_pipeline(PIPELINE)
    request_id = f"{PIPELINE}.bench.{holdout_days[1]}"
    spec = Spec(
        pipeline=PIPELINE,
        request_id=request_id,
        reason="bench",
        key=pipeline.key,
        date=pipeline.date,
        snapshot_id=lake.current_snapshot(PIPELINE),
        train_days=train_days,
        holdout_days=holdout_days,
        training=pipeline.training,
        sample_rows=pipeline.monitoring.sample_rows,
        folder=model_folder(PIPELINE, request_id),
    )
    manifest = train(spec, Stopwatch())
    with open_ledger() as session:
        return releases.add_release(
            session,
            PIPELINE,
            request_id,
            model_uri=str(Path(spec.folder)),
            sha256=manifest["sha256"],
            tracking_run="",
            judged_until=holdout_days[1],
            quality=manifest["metrics"][pipeline.gate.metric],
            metrics=manifest["metrics"],
            gate={},
            compared_with=None,
        )
