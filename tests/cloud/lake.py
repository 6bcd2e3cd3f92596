"""A lake with days of rides in it, published by Evergreen's own functions; they were not cleaned by Spark."""

import json
from datetime import date, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from include import publication
from include.config import load_pipeline
from include.settings import load_settings


def publish_rides(num_days: int, rows: int) -> list[str]:
    """Publish so many days of the pipeline `rides` with something to learn in them, and return these days."""
    pipeline, random = load_pipeline("rides"), np.random.default_rng(0)
    days = [(date(2020, 1, 1) + timedelta(days=number)).isoformat() for number in range(num_days)]
    folder = load_settings().lake / "rides" / "staged" / "first"
    staged = {}
    for day in days:
        distance = random.normal(0, 1, rows)
        table = {
            "ride_id": [f"{day}-{number:03}" for number in range(rows)],
            "day": pa.array([date.fromisoformat(day)] * rows),
            "distance": distance,
            "carrier": random.choice(["AA", "UA"], rows),
            "late": distance + random.normal(0, 1, rows) > 0,
        }
        file = folder / "data" / f"_p={day}" / "part-0.parquet"
        file.parent.mkdir(parents=True)
        pq.write_table(pa.table(table), file)
        staged[day] = {"rows": rows, "labelled": rows, "quarantined": 0, "files": [str(file)]}
    (folder / "staged.json").write_text(json.dumps({"folder": str(folder), "days": staged, "rules": {}}))
    verdict = {"passed": days, "refused": {}, "reports": {}}
    publication.publish(pipeline, str(folder / "staged.json"), verdict, "first")
    return days
