"""What tests of more than one stage need."""

import json
from datetime import date
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from include.config import load_pipeline


@pytest.fixture(scope="session")
def fresh_mlflow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty MLflow database; making one takes seconds, copying it none."""
    from mlflow import MlflowClient

    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    MlflowClient(tracking_uri=f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture
def pipeline(tmp_path, monkeypatch):
    """The shipped pipeline, in an empty data folder."""
    monkeypatch.setenv("EVERGREEN_DATA", str(tmp_path))
    return load_pipeline("flight_delays")


@pytest.fixture
def stage(tmp_path, pipeline):
    """Stage days with these keys, as a cleaning attempt of this name would; return the path of its `staged.json`."""

    def write(attempt: str, /, extra: dict | None = None, **days: list[str]) -> str:
        folder = tmp_path / "lake" / pipeline.name / "staged" / attempt
        staged = {}
        for name, keys in days.items():
            day = name.removeprefix("d").replace("_", "-")
            file = folder / "data" / f"_p={day}" / "part-0.parquet"
            file.parent.mkdir(parents=True)
            dates = pa.array([date.fromisoformat(day)] * len(keys), pa.date32())
            pq.write_table(pa.table({"flight_id": keys, "flight_date": dates, **(extra or {})}), file)
            staged[day] = {"rows": len(keys), "labelled": 0, "quarantined": 0, "files": [str(file)]}
        folder.mkdir(parents=True, exist_ok=True)
        uri = folder / "staged.json"
        uri.write_text(json.dumps({"folder": str(folder), "days": staged, "rules": {}}))
        return str(uri)

    return write
