"""This file measures how good a window's predictions were, on the rows whose label is known."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from include import atomic, evaluation
from include.evaluation import Floats
from include.monitoring.windows import LABEL


def measure_quality(window: pa.Table, metric: str, page: Path) -> tuple[int, float | None, dict[str, Any]]:
    """Return the number of labelled rows, their quality (None if unknown), and all metrics or the reason.

    What is decided by is computed by the gate's own functions, so that governor and gate mean the same by a word; the
    page for people, written where quality is known, is Evidently's.
    """
    labelled = window.filter(pc.and_(pc.is_valid(window[LABEL]), pc.is_valid(window["prediction"])))
    labels = labelled[LABEL].to_numpy().astype(np.float64)
    predictions = labelled["prediction"].to_numpy().astype(np.float64)
    if not len(labels):
        return 0, None, {"state": "unknown", "why": "no row has a label yet"}
    try:
        found = evaluation.metrics(labels, predictions)
    except ValueError as error:
        return len(labels), None, {"state": "unknown", "why": str(error)}
    _write_page(labels, predictions, page)
    rates = {"label_rate": float(labels.mean()), "mean_prediction": float(predictions.mean())}
    return len(labels), found[metric], {"state": "known", **found, **rates}


def _write_page(labels: Floats, predictions: Floats, page: Path) -> None:
    # Imported here: Evidently takes seconds, and most publications have nothing to measure.
    import pandas as pd  # noqa: PLC0415
    from evidently import BinaryClassification, DataDefinition, Dataset, Report  # noqa: PLC0415
    from evidently.presets import ClassificationQuality  # noqa: PLC0415

    frame = pd.DataFrame({"label": labels.astype(int), "prediction": predictions})
    task = BinaryClassification(target="label", prediction_probas="prediction", pos_label=1)
    data = Dataset.from_pandas(frame, data_definition=DataDefinition(classification=[task]))
    drawn = Report([ClassificationQuality(conf_matrix=True, pr_curve=True, include_tests=False)]).run(data, None)
    with atomic.replacing(page) as temporary:
        drawn.save_html(str(temporary))
