"""This file runs every stage of a pipeline on real rows in a folder that is thrown away: nothing is published."""

import json
import logging
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from include import lake
from include.errors import ConfigError, TrainingFailedError
from include.ingestion.delivery import land
from include.learning.metrics import in_words
from include.ledger import nights, open_ledger, releases, requests
from include.onboarding.aside import thrown_away
from include.pipeline import Pipeline
from include.recipe import Training
from include.settings import ROOT, load_settings

log = logging.getLogger(__name__)

RUN = "dry-run"
LEARNED_ROWS = 300_000  # rows times epochs
ASKED_ROWS = 5_000
SHOWN = 3


@dataclass
class Stage:
    """What one stage did, in words."""

    name: str
    said: str = ""
    seconds: float = 0.0
    is_good: bool = True
    details: list[str] = field(default_factory=list)


@dataclass
class Rehearsal:
    """What one stage leaves for those after it."""

    pipeline: Pipeline
    days: list[str]
    landed: str = ""
    staged: str = ""
    verdict: dict[str, Any] = field(default_factory=dict)
    publication_id: str = ""
    request_id: str = ""
    release_id: str = ""

    def run(self) -> Iterator[Stage]:
        """Run the stages in turn, each given back when it has ended; after one that failed there is no other."""
        with thrown_away(self.pipeline):
            for name, work in STAGES.items():
                stage = Stage(name)
                started = time.perf_counter()
                try:
                    work(self, stage)
                except (ValueError, RuntimeError, OSError) as error:
                    stage.is_good, stage.said = False, str(error)
                stage.seconds = time.perf_counter() - started
                yield stage
                if not stage.is_good:
                    return


def fitted(training: Training, labelled_days: int) -> Training:
    """Return the training with windows that as few days as these can fill; the hold-out is asked for afterwards."""
    holdout = min(training.holdout_days, max(1, labelled_days // 3))
    return training.model_copy(update={"holdout_days": holdout, "min_rows": 1, "refit": False})


def _land(run: Rehearsal, stage: Stage) -> None:
    run.landed = land(run.pipeline, run.days, RUN)
    found = json.loads(Path(run.landed).read_text())["days"]
    counts = {
        kind: sum(pq.read_metadata(path).num_rows for day in found.values() for path in day[kind])
        for kind in ("events", "labels")
    }
    labels = f", {counts['labels']:,} labels" if run.pipeline.source.labels else ""
    stage.said = f"{len(found)} days, {run.days[0]} to {run.days[-1]}: {counts['events']:,} events{labels}"


def _clean(run: Rehearsal, stage: Stage) -> None:
    from include.cleaning import job  # noqa: PLC0415  Spark takes seconds to import

    run.staged = job.clean(run.pipeline, run.landed, RUN)
    staged = json.loads(Path(run.staged).read_text())
    rows, labelled, bad = (
        sum(day[key] for day in staged["days"].values()) for key in ("rows", "labelled", "quarantined")
    )
    rules = ", ".join(f"{rule} {count:,}" for rule, count in staged["rules"].items())
    stage.said = (
        f"{rows:,} clean rows, {labelled:,} of them labelled; {bad:,} quarantined{f' ({rules})' if rules else ''}"
    )
    quarantine = load_settings().lake / run.pipeline.name / "quarantine" / f"run={RUN}"
    tables = [pq.ParquetFile(path).read().to_pylist() for path in sorted(quarantine.rglob("*.parquet"))[:SHOWN]]
    for row in [row for table in tables for row in table][:SHOWN]:
        where = f"{Path(row['source_file']).parent.name} row {row['source_row']}"
        stage.details.append(f"quarantined: {', '.join(row['rules'])} · {where}: {row['row'][:160]}")


def _validate(run: Rehearsal, stage: Stage) -> None:
    from include import validation  # noqa: PLC0415  Great Expectations takes seconds to import

    run.verdict = validation.validate(run.pipeline, run.staged, RUN)
    passed, refused = run.verdict["passed"], run.verdict["refused"]
    stage.said = f"{len(run.pipeline.expectations)} expectations: {len(passed)} days passed, {len(refused)} refused"
    stage.details += [f"refused {day}: {why}" for day, why in list(refused.items())[:SHOWN]]
    if not passed:
        raise ConfigError(
            f"{stage.said}, so nothing is left to learn from. Widen 'expectations' or mend the deliveries."
        )


def _publish(run: Rehearsal, stage: Stage) -> None:
    from include import publication  # noqa: PLC0415

    run.publication_id = publication.publish(run.pipeline, run.staged, run.verdict, RUN) or ""
    rows = lake.read_clean(run.pipeline.name, run.days[0], run.days[-1], [run.pipeline.key])
    stage.said = f"{len(rows):,} rows in a table of the dry run's own"


def _train(run: Rehearsal, stage: Stage) -> None:
    from include.training.plan import plan  # noqa: PLC0415

    with open_ledger() as session:
        rows = nights.partitions_of(session, run.pipeline.name)
        labelled = sum(1 for row in rows if row.status == "published" and row.labelled)
        total = sum(row.labelled for row in rows)
        epochs = max(1, min(run.pipeline.training.epochs, LEARNED_ROWS // max(total, 1)))
        request = requests.file_request(
            session, run.pipeline.name, reason="dry run", triggered_by="hand", key=RUN, detail={"epochs": epochs}
        )
        run.request_id = request.id
    training = fitted(run.pipeline.training, labelled)
    spec = plan(run.pipeline.model_copy(update={"training": training}), run.request_id)
    done = subprocess.run(  # noqa: S603  our own module
        [sys.executable, "-m", "include.training", spec],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise TrainingFailedError((done.stdout + done.stderr).strip().splitlines()[-1])
    about = json.loads(Path(spec).read_text())
    fewer = "" if epochs == run.pipeline.training.epochs else f" of {run.pipeline.training.epochs}"
    stage.said = f"learned from {' to '.join(about['train_days'])}, {epochs}{fewer} epochs"


def _gate(run: Rehearsal, stage: Stage) -> None:
    from include import gatekeeping  # noqa: PLC0415

    run.release_id = gatekeeping.evaluate(run.pipeline, run.request_id)
    with open_ledger() as session:
        release = releases.get_release(session, run.release_id)
    stage.said = f"{release.status} · {in_words(release.metrics)}"
    stage.details.append(release.note)


def _verify(run: Rehearsal, stage: Stage) -> None:
    from include import verification  # noqa: PLC0415

    verification.verify(run.release_id)
    stage.said = "the ONNX graph gives the answers that training had recorded"


def _serve(run: Rehearsal, stage: Stage) -> None:
    from include.serving.answering import answer  # noqa: PLC0415
    from include.serving.capture import Capture  # noqa: PLC0415
    from include.serving.metrics import Metrics  # noqa: PLC0415
    from include.serving.model import Service, load  # noqa: PLC0415
    from include.serving.state import State  # noqa: PLC0415

    pipeline, settings, day = run.pipeline, load_settings(), max(run.verdict["passed"])
    with open_ledger() as session:
        release = releases.get_release(session, run.release_id)
    state = State(pipeline.name, 1, release.version, release.model_uri, release.sha256)
    served = load(settings, pipeline.name, release.version, release.model_uri, release.sha256)
    target = pipeline.training.target
    rows = lake.read_clean(pipeline.name, day, day, [pipeline.key, pipeline.date, *served.features.names, target])
    known = rows.slice(0, ASKED_ROWS).to_pylist()
    body = json.dumps(
        {"instances": [{name: row[name] for name in row if name != target} for row in known]}, default=str
    )
    answered = answer(Service(state, served), body.encode())
    capture = Capture(settings.lake, Metrics())
    capture.put(answered.captured)
    capture.flush()
    answers = json.loads(answered.content)["predictions"]
    newer = [each for each in run.verdict["refused"] if each > day]
    stage.said = f"{len(answers):,} predictions for {day}{f'; {newer[0]} was refused' if newer else ''}"
    for row, said in list(zip(known, answers, strict=True))[:SHOWN]:
        outcome = "not known yet" if row[target] is None else row[target]
        stage.details.append(f"{said[pipeline.key]}: prediction {_short(said['prediction'])}, {target}: {outcome}")


def _monitor(run: Rehearsal, stage: Stage) -> None:
    from include.monitoring import measuring, windows  # noqa: PLC0415

    measuring.measure(run.pipeline, windows.collect(run.pipeline, run.publication_id))
    with open_ledger() as session:
        window = nights.windows_of(session, run.pipeline.name)[0]
    metric = run.pipeline.governor.metric
    quality = window.measures["quality"].get("why") if window.quality is None else f"{metric} {window.quality:.3f}"
    drift = "drift unknown" if window.drifted_share is None else f"{window.drifted_share:.0%} of its inputs drifted"
    stage.said = f"{window.day}: {window.labelled:,} of {window.rows:,} answers have their label · {quality} · {drift}"


STAGES: dict[str, Callable[[Rehearsal, Stage], None]] = {
    "land": _land,
    "clean": _clean,
    "validate": _validate,
    "publish": _publish,
    "train": _train,
    "gate": _gate,
    "verify": _verify,
    "serve": _serve,
    "monitor": _monitor,
}


def _short(value: Any) -> Any:
    return f"{value:.3f}" if isinstance(value, float) else value
