"""Columns of `gate.slices` that are no features: sent along, and judged on the platform as beside the lake."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as dataset
import pyarrow.parquet as pq
import pytest

from include import artefact
from include.learning.kinds import task_of
from include.platforms import inputs
from include.platforms.aws import Aws
from include.platforms.base import Order
from include.recipe import Features
from include.training import store
from include.training.spec import Spec
from tests.cloud.sagemaker import SageMaker


@pytest.fixture
def spec(
    installation: Path,
    rides_yaml: str,
    rows: Path,
    make_spec: Callable[..., Spec],
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Spec]:
    """One whose rows lie in the lake, that learns from the distance alone and is judged by carrier."""
    table = dataset.dataset(rows).to_table()

    def clean_days(_name: str, first: str, last: str, columns: list[str], _snapshot: Any = None) -> Iterator[Any]:
        for day in sorted({*table["day"].to_pylist()}):
            if first <= day <= last:
                yield day, table.filter(pc.field("day") == day).select(columns)

    def read_clean(_name: str, first: str, last: str, columns: list[str], _snapshot: Any = None) -> pa.Table:
        return table.filter((pc.field("day") >= first) & (pc.field("day") <= last)).select(columns)

    monkeypatch.setattr("include.lake.clean_days", clean_days)
    monkeypatch.setattr("include.lake.read_clean", read_clean)
    path = installation / "pipelines" / "rides.yaml"
    path.write_text(rides_yaml + "gate: {slices: [carrier], min_slice_rows: 20}\n")
    yield make_spec("rides.first.sliced", features=Features(numeric=["distance"])).model_copy(update={"rows": None})
    path.write_text(rides_yaml)


def test_the_groups_are_judged_far_from_the_lake_as_beside_it(sagemaker: SageMaker, spec: Spec) -> None:
    aws = Aws()
    job = aws.submit(Order("evergreen-sliced-1", spec, datetime.now(UTC) + timedelta(minutes=10)))
    lines = list(aws.follow(job))
    assert aws.status(job).state == "succeeded", lines

    aws.collect(job, spec)

    manifest, holdout = artefact.read_manifest(spec.folder), pq.read_table(spec.folder / artefact.HOLDOUT)
    assert "carrier" not in holdout.column_names
    assert set(manifest["slices"]["carrier"]) == {"AA", "UA"}
    mine = task_of(manifest)
    assert manifest["slices"] == store._slices(spec, mine, holdout, artefact.judged(holdout, mine))


def test_a_cluster_is_sent_them_too(spec: Spec, tmp_path: Path) -> None:
    inputs.put_input(spec, str(tmp_path / "storage"))

    (first, *_) = sorted((tmp_path / "storage" / "input" / "rows").glob("*.parquet"))
    assert pq.read_schema(first).names == ["ride_id", "day", "late", "distance", "carrier"]
