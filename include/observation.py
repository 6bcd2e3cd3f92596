"""This file looks at what the endpoint's versions do: its counters, the answers it captured, the copies it answered."""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from prometheus_client.parser import text_string_to_metric_families

from include import captures, lake
from include.deployment import Seen
from include.errors import EndpointError, NotEnoughDataError
from include.evaluation import quality
from include.learning.kinds import KINDS
from include.learning.metrics import gain
from include.learning.task import LABEL, PREDICTION
from include.monitoring.noise import distance_of
from include.monitoring.windows import newest_answers, with_labels
from include.pipeline import ANSWER_DAY, ANSWER_ID, ANSWER_VERSION, ANSWERED_AT, Pipeline
from include.settings import load_settings

FEWEST_ROWS = 100  # of each of two versions, below which their answers are not compared
QUANTILE = 0.99

Counters = dict[str, dict[str, float]]  # by version: "failed", "answered", and answered requests by bucket


def counters_of(pipeline_name: str) -> Counters:
    """Return what the endpoint has counted by version, over all its processes.

    :raises EndpointError: if it does not answer.
    """
    url = load_settings().endpoint_url
    try:
        page = httpx.get(f"{url}/metrics", timeout=10, trust_env=False).raise_for_status().text
    except httpx.HTTPError as error:
        raise EndpointError(f"{url}/metrics does not answer: {error!r}. Start the endpoint again.") from error
    found: Counters = {}
    for family in text_string_to_metric_families(page):
        for sample in family.samples:
            if sample.labels.get("pipeline") != pipeline_name or "version" not in sample.labels:
                continue
            version = found.setdefault(sample.labels["version"], {})
            if sample.name == "evergreen_version_failures_total":
                version["failed"] = sample.value
            elif sample.name == "evergreen_request_seconds_count":
                version["answered"] = sample.value
            elif sample.name == "evergreen_request_seconds_bucket":
                version[sample.labels["le"]] = sample.value
    return found


def seen_since(before: Mapping[str, Mapping[str, float]], after: Counters, version: int) -> Seen:
    """Return what a version did between two looks; an endpoint that began anew meanwhile has counted from nought."""
    old, new = before.get(str(version), {}), after.get(str(version), {})
    if any(new.get(name, 0) < value for name, value in old.items()):
        old = {}
    grown = {name: value - old.get(name, 0) for name, value in new.items()}
    buckets = {float(name): count for name, count in grown.items() if name not in {"failed", "answered"}}
    return Seen(
        answered=int(grown.get("answered", 0)),
        failed=int(grown.get("failed", 0)),
        p99_ms=_quantile(buckets, QUANTILE),
    )


def shift_since(pipeline: Pipeline, champion: int, challenger: int, since: datetime) -> float | None:
    """Return how far a challenger's captured answers lie from the champion's; None if there are too few of either."""
    rows = captured_since(pipeline, since, [PREDICTION])
    return shift_of(*(rows.filter(pc.equal(rows[ANSWER_VERSION], version)) for version in (challenger, champion)))


def shift_of(challenger: pa.Table, champion: pa.Table, column: str = PREDICTION) -> float | None:
    """Return how far answers lie apart, in standard deviations or as the distance of classes; None for too few."""
    if min(len(challenger), len(champion)) < FEWEST_ROWS:
        return None
    return distance_of(champion[column].type)(challenger[PREDICTION], champion[column])


def quality_drop_since(pipeline: Pipeline, champion: int, challenger: int, since: datetime) -> float | None:
    """Return by how much a challenger is worse than the champion on captured rows whose labels are there."""
    task, metric = KINDS[pipeline.training.task], pipeline.governor.metric
    names = [pipeline.key, ANSWER_DAY, ANSWER_ID, ANSWERED_AT, *(field.name for field in task.fields)]
    rows = captured_since(pipeline, since, names)
    if not len(rows) or metric == "cost":  # what wrong answers cost is the gate's to say
        return None
    rows = newest_answers(rows, pipeline.key)
    days = sorted(pc.unique(rows[ANSWER_DAY]).to_pylist())
    target = pipeline.training.target
    try:
        clean = lake.read_clean(pipeline.name, days[0], days[-1], [pipeline.key, target])
    except NotEnoughDataError:  # nothing has ever been published
        return None
    rows = with_labels(rows, clean, pipeline.key, pipeline.training.task, target)
    known = rows.filter(pc.is_valid(rows[LABEL]))
    found = []
    for version in (challenger, champion):
        some = known.filter(pc.equal(known[ANSWER_VERSION], version))
        if len(some) < FEWEST_ROWS:
            return None
        answering = task.from_answers(some)
        found.append(quality(metric, answering.encode(some[LABEL]).astype(float), answering.recorded(some)))
    return float(-gain(metric, *found))


def captured_since(pipeline: Pipeline, since: datetime, columns: list[str]) -> pa.Table:
    """Return columns of the answers captured since a moment, with their versions and times."""
    names = list(dict.fromkeys([ANSWER_VERSION, ANSWERED_AT, *columns]))
    nothing = pa.table({ANSWER_VERSION: pa.array([], pa.int64()), ANSWERED_AT: pa.array([], pa.timestamp("us", "UTC"))})
    tables = [nothing]
    for folder in (load_settings().lake / pipeline.name / "predictions").glob("day=*"):
        if newer := [path for path in captures.captured_files(folder) if _written(path) >= since]:
            tables += [pq.ParquetFile(path).read(columns=names) for path in newer]
    rows = pa.concat_tables(tables, promote_options="default")
    return rows.filter(pc.greater_equal(rows[ANSWERED_AT], pa.scalar(since, pa.timestamp("us", "UTC"))))


def _written(path: Path) -> datetime:
    return datetime.fromtimestamp(path.stat().st_mtime, UTC)


def _quantile(buckets: Mapping[float, float], share: float) -> float | None:
    """Return a quantile in milliseconds from cumulated counts by upper bound, like Prometheus' histogram_quantile."""
    bounds = sorted(buckets)
    total = buckets[bounds[-1]] if bounds else 0
    if not total:
        return None
    lower, below = 0.0, 0.0
    for bound in bounds:
        if buckets[bound] >= share * total:
            if bound == float("inf"):
                return lower * 1000
            inside = buckets[bound] - below
            return (lower + (bound - lower) * ((share * total - below) / inside if inside else 1)) * 1000
        lower, below = bound, buckets[bound]
    return lower * 1000
