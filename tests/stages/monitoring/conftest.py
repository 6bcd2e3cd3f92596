"""A released model with its training's sample, and days that it answered."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from include import lake
from include.ledger import open_ledger, releases


@pytest.fixture
def champion(make_model, monkeypatch, settings):
    folder, sha256 = make_model("m1", train_days=["2019-12-01", "2019-12-02"])
    with open_ledger() as session:
        fields = {
            "model_uri": folder,
            "sha256": sha256,
            "tracking_run": "",
            "judged_until": "2019-12-02",
            "quality": 0.7,
        }
        releases.add_release(session, "rides", "r1", **fields, metrics={"auc": 0.7}, gate={}, compared_with=None)

    def read_clean(pipeline_name, first, last, columns, snapshot_id=None):
        rng = np.random.default_rng(5)
        days = np.repeat(["2019-12-01", "2019-12-02"], 200)
        return pa.table(
            {"day": days, "distance": rng.normal(0, 1, 400), "carrier": rng.choice(["AA", "UA", "B6"], 400)}
        )

    monkeypatch.setattr(lake, "read_clean", read_clean)
    return Path(folder)


@pytest.fixture
def relies_on(champion):
    """Write importances into the champion's manifest."""

    def write(**importance):
        path = champion / "manifest.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"importance": importance}))

    return write


@pytest.fixture
def joined(tmp_path):
    def write(day="2020-01-02", version=1, shift=0.0, labels=True, num_rows=400, carriers=("AA", "UA", "B6")):
        rng = np.random.default_rng(1)
        truth = rng.random(num_rows)
        table = pa.table(
            {
                "answer_day": [day] * num_rows,
                "answer_version": [version] * num_rows,
                "distance": rng.normal(shift, 1, num_rows),
                "carrier": rng.choice(carriers, num_rows),
                "prediction": truth,
                "label": pa.array(
                    (rng.random(num_rows) < truth).astype(float) if labels else [None] * num_rows, pa.float64()
                ),
            }
        )
        path = tmp_path / "windows.parquet"
        pq.write_table(table, path)
        return str(path)

    return write
