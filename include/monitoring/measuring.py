"""This file measures drift and quality of each served window and writes the numbers into the ledger."""

import logging
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from include import reports
from include.ledger import Release, Window, nights, open_ledger, releases
from include.monitoring import workspace
from include.monitoring.assessment import assess
from include.monitoring.baseline import baseline_of
from include.monitoring.windows import counts_of
from include.pipeline import ANSWER_DAY, ANSWER_VERSION, Pipeline
from include.settings import load_settings

if TYPE_CHECKING:
    from evidently.core.report import Snapshot

log = logging.getLogger(__name__)


def measure(pipeline: Pipeline, joined_uri: str) -> None:
    """Measure each (day, version) of the joined windows against the version's own training window and hold-out."""
    joined = pq.ParquetFile(joined_uri).read()
    if not len(joined):
        log.info("No day of this publication was served: there is nothing to measure.")
        return
    with open_ledger() as session:
        known = {release.version: release for release in releases.releases_of(session, pipeline.name)}
    groups = joined.group_by([ANSWER_DAY, ANSWER_VERSION]).aggregate([])
    windows = [
        _measure_window(pipeline, joined, day, version, known.get(version))
        for day, version in sorted(
            zip(*(groups[name].to_pylist() for name in (ANSWER_DAY, ANSWER_VERSION)), strict=True)
        )
    ]
    with open_ledger() as session:
        nights.record_windows(session, windows)


def _measure_window(pipeline: Pipeline, joined: pa.Table, day: str, version: int, release: Release | None) -> Window:
    rows = joined.filter(pc.and_(pc.equal(joined[ANSWER_DAY], day), pc.equal(joined[ANSWER_VERSION], version)))
    lake = load_settings().lake
    pages = lake / pipeline.name / "reports"
    page, quality_page = (pages / kind / f"{day}-v{version}{reports.SUFFIX}" for kind in ("drift", "quality"))
    baseline = baseline_of(pipeline, release, rows, page.parent)
    about = f"{pipeline.name}, {day}, version {version}"

    def show_drift(drawn: "Snapshot", summary: str) -> None:
        reports.write_evidently_page(page, f"Drift: {about}", drawn.get_html_str(as_iframe=False), summary)
        workspace.keep(pipeline, day, version, drawn)

    def show_quality(drawn: "Snapshot", summary: str) -> None:
        reports.write_evidently_page(quality_page, f"Quality: {about}", drawn.get_html_str(as_iframe=False), summary)

    measures = assess(pipeline, rows, baseline, show_drift, show_quality)
    if quality_page.exists():
        measures["quality"]["report"] = str(quality_page.relative_to(lake))
    num_rows, num_labelled = counts_of(joined, rows, day, version)
    quality, share = measures["quality"].get(pipeline.governor.metric), measures["drift"]["share"]
    told = (pipeline.governor.metric, quality, share)
    log.info("%s v%s: %s rows, %s labelled, %s %s, drifted share %s", day, version, num_rows, num_labelled, *told)
    return Window(
        pipeline=pipeline.name,
        day=day,
        version=version,
        rows=num_rows,
        labelled=num_labelled,
        drifted_share=share,
        quality=quality,
        measures=measures,
        report=str(page.relative_to(lake)) if page.exists() else "",
    )
