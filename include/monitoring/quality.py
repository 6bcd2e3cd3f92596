"""This file measures how good a window's predictions were, on the rows whose label is known."""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from include import evaluation
from include.monitoring.windows import LABEL


def measure_quality(window: pa.Table, metric: str) -> tuple[int, float | None, dict[str, Any]]:
    """Return the number of labelled rows, their quality (None if unknown), and all metrics or the reason."""
    labelled = window.filter(pc.and_(pc.is_valid(window[LABEL]), pc.is_valid(window["prediction"])))
    labels = labelled[LABEL].to_numpy().astype(np.float64)
    predictions = labelled["prediction"].to_numpy().astype(np.float64)
    if not len(labels):
        return 0, None, {"state": "unknown", "why": "no row has a label yet"}
    try:
        found = evaluation.metrics(labels, predictions)
    except ValueError as error:
        return len(labels), None, {"state": "unknown", "why": str(error)}
    rates = {"label_rate": float(labels.mean()), "mean_prediction": float(predictions.mean())}
    return len(labels), found[metric], {"state": "known", **found, **rates}
