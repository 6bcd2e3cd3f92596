"""This file measures drift and quality of each served window and writes the numbers into the ledger."""

import logging
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from include import reports
from include.artefact import REFERENCE, features_of, read_manifest
from include.errors import ArtefactError
from include.learning.kinds import KINDS, task_of
from include.learning.task import Task
from include.ledger import Window, nights, open_ledger, releases
from include.monitoring.drift import as_measures, measure_drift, plain_share, weighted_share
from include.monitoring.noise import noise_of
from include.monitoring.quality import measure_quality
from include.monitoring.relevance import weights_of
from include.pipeline import ANSWER_DAY, ANSWER_VERSION, Pipeline
from include.settings import Settings, load_settings

log = logging.getLogger(__name__)


def measure(pipeline: Pipeline, joined_uri: str) -> None:
    """Measure each (day, version) of the joined windows against the version's own training window."""
    joined = pq.ParquetFile(joined_uri).read()
    if not len(joined):
        log.info("No day of this publication was served: there is nothing to measure.")
        return
    settings = load_settings()
    with open_ledger() as session:
        folders = {release.version: release.model_uri for release in releases.releases_of(session, pipeline.name)}
    groups = joined.group_by([ANSWER_DAY, ANSWER_VERSION]).aggregate([])
    windows = [
        _measure_window(pipeline, settings, joined, day, version, folders.get(version))
        for day, version in sorted(
            zip(*(groups[name].to_pylist() for name in (ANSWER_DAY, ANSWER_VERSION)), strict=True)
        )
    ]
    with open_ledger() as session:
        nights.record_windows(session, windows)


def _measure_window(  # noqa: PLR0913  one call, and each names another thing
    pipeline: Pipeline, settings: Settings, joined: pa.Table, day: str, version: int, model_uri: str | None
) -> Window:
    rows = joined.filter(pc.and_(pc.equal(joined[ANSWER_DAY], day), pc.equal(joined[ANSWER_VERSION], version)))
    folder = settings.lake / pipeline.name / "reports"
    page = folder / "drift" / f"{day}-v{version}{reports.SUFFIX}"
    quality_page = folder / "quality" / f"{day}-v{version}{reports.SUFFIX}"
    labelled, quality, metrics = measure_quality(rows, _task_of(pipeline, model_uri, rows), pipeline, quality_page)
    if quality_page.exists():
        metrics["report"] = str(quality_page.relative_to(settings.lake))
    drift = _measure_columns(pipeline, rows, model_uri, page)
    share = drift["share"]
    told = (pipeline.governor.metric, quality, share)
    log.info("%s v%s: %s rows, %s labelled, %s %s, drifted share %s", day, version, len(rows), labelled, *told)
    return Window(
        pipeline=pipeline.name,
        day=day,
        version=version,
        rows=len(rows),
        labelled=labelled,
        drifted_share=share,
        quality=quality,
        measures={"quality": metrics, "drift": drift},
        report=str(page.relative_to(settings.lake)) if page.exists() else "",
    )


def _measure_columns(pipeline: Pipeline, rows: pa.Table, model_uri: str | None, page: Path) -> dict[str, Any]:
    try:
        reference, manifest = _reference_of(model_uri)
        noise = noise_of(pipeline, str(model_uri), reference, page.parent)
    except ArtefactError as error:
        log.warning("Drift is unknown: %s", error)
        return {"share": None, "why": str(error), "columns": {}}
    features = features_of(manifest)
    weights = weights_of(manifest, features)
    columns = measure_drift(
        rows, reference, features, noise=noise, weights=weights.shares, policy=pipeline.monitoring, page=page
    )
    return {
        "share": weighted_share(columns),
        "plain_share": plain_share(columns, features),
        "weighted_by": weights.by,
        "why": weights.why,
        "columns": as_measures(columns),
    }


def _task_of(pipeline: Pipeline, model_uri: str | None, rows: pa.Table) -> Task:
    try:
        return task_of(read_manifest(model_uri or ""))
    except ArtefactError:  # what it answered can be judged without it
        return KINDS[pipeline.training.task].from_answers(rows)


def _reference_of(model_uri: str | None) -> tuple[pa.Table, dict[str, Any]]:
    if model_uri is None:
        raise ArtefactError("The version that answered is not in the ledger, so its training window is not known.")
    path = Path(model_uri) / REFERENCE
    try:
        return pq.ParquetFile(path).read(), read_manifest(model_uri)
    except OSError as error:
        raise ArtefactError(f"{path}: no sample of the training window ({error}). Drift cannot be measured.") from error
