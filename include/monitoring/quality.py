"""This file measures how good a window's predictions were, on the rows whose label is known."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from include import evaluation, reports
from include.learning.metrics import TaskName
from include.learning.scoring import Floats
from include.learning.task import LABEL, PREDICTION, Task
from include.monitoring.drift import Show, sample
from include.pipeline import Pipeline

if TYPE_CHECKING:
    from evidently import DataDefinition
    from evidently.core.container import MetricContainer
    from evidently.core.report import Snapshot

    Page = tuple[type, DataDefinition, MetricContainer]  # the labels' type, what is drawn of which columns


@dataclass(frozen=True)
class Labelled:
    """Answers whose outcome is known, as numbers that can be judged."""

    rows: pa.Table
    task: Task  # knows every class that was answered or occurred
    labels: Floats
    predictions: Floats

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.rows)


def labelled_of(window: pa.Table, task: Task, pipeline: Pipeline) -> Labelled | str:
    """Return a window's labelled rows, or why they cannot be judged.

    :param task: that of the version which answered.
    """
    labelled = window.filter(pc.and_(pc.is_valid(window[LABEL]), pc.is_valid(window[PREDICTION])))
    if not len(labelled):
        return "no row has a label yet"
    if task.name != pipeline.training.task:
        return f"a {task.name} model answered, but the YAML now says `training.task: {pipeline.training.task}`"
    everyone, labels, (predictions,) = task.compare(labelled[LABEL], (task, task.recorded(labelled)))
    return Labelled(labelled, everyone, labels, predictions)


def measure_quality(window: Labelled, num_rows: int, pipeline: Pipeline, show: Show) -> dict[str, Any]:
    """Return all metrics of a window of so many rows, or the reason why there are none.

    What is decided by is computed by the gate's own functions, so that governor and gate mean the same by a word; the
    page for people is Evidently's.

    :param show: is given Evidently's plots and our table as HTML, where quality is known.
    """
    task, labels, predictions = window.task, window.labels, window.predictions
    try:
        found = evaluation.metrics(task, labels, predictions, prices=task.prices(pipeline.gate.costs))
    except ValueError as error:
        return {"state": "unknown", "why": str(error)}
    drawn = sample(window.rows.select([LABEL, PREDICTION]), pipeline.monitoring.sample_rows)
    show(_drawn(drawn, pipeline.training.task), _summary(found, len(window), num_rows))
    spread = {"labels": task.summary(labels), "predictions": task.summary(task.decided(predictions))}
    return {"state": "known", **found, **spread}


def _summary(found: dict[str, Any], num_labelled: int, num_rows: int) -> str:
    rows = [((name, ""), (f"{value:.4f}", "")) for name, value in found.items() if isinstance(value, float)]
    note = (
        f"On {num_labelled:,} rows with a known outcome, of {num_rows:,} that were answered; gate and governor judge "
        "by these numbers. Below: Evidently's page. It counts a probability above 0.5 as a yes: where none is that "
        "sure, its precision and recall are 0, and the model may order the rows well all the same."
    )
    return reports.table_of("Quality", ("metric", "value"), rows, note)


def _drawn(labelled: pa.Table, task: TaskName) -> "Snapshot":
    # Imported here: Evidently takes seconds, and most publications have nothing to measure.
    from evidently import Dataset, Report  # noqa: PLC0415

    seen = sorted(set(labelled[LABEL].to_pylist() + labelled[PREDICTION].to_pylist()))
    kind, definition, preset = _PAGES[task](seen)
    frame = labelled.to_pandas().astype({LABEL: kind})
    return Report([preset]).run(Dataset.from_pandas(frame, data_definition=definition), None)


def _binary_page(_seen: list[Any]) -> "Page":
    from evidently import BinaryClassification, DataDefinition  # noqa: PLC0415
    from evidently.presets import ClassificationQuality  # noqa: PLC0415

    columns = BinaryClassification(target=LABEL, prediction_probas=PREDICTION, pos_label=1)
    preset = ClassificationQuality(conf_matrix=True, pr_curve=True, include_tests=False)
    return int, DataDefinition(classification=[columns]), preset  # 0.0 and 1.0 would be numbers to it, not classes


def _multiclass_page(seen: list[Any]) -> "Page":
    from evidently import BinaryClassification, DataDefinition, MulticlassClassification  # noqa: PLC0415
    from evidently.presets import ClassificationQuality  # noqa: PLC0415

    columns = MulticlassClassification(target=LABEL, prediction_labels=PREDICTION)
    if len(seen) == 2:  # Evidently then looks for the positive one, and raises KeyError (0.7.23)
        columns = BinaryClassification(target=LABEL, prediction_labels=PREDICTION, pos_label=seen[1])
    return str, DataDefinition(classification=[columns]), ClassificationQuality(conf_matrix=True, include_tests=False)


def _regression_page(_seen: list[Any]) -> "Page":
    from evidently import DataDefinition, Regression  # noqa: PLC0415
    from evidently.presets import RegressionQuality  # noqa: PLC0415

    columns = Regression(target=LABEL, prediction=PREDICTION)
    # The larger presets of this and of the last page raise KeyError and AttributeError without tests (0.7.23).
    preset = RegressionQuality(pred_actual_plot=True, error_plot=True, error_distr=True, include_tests=False)
    return float, DataDefinition(regression=[columns]), preset


_PAGES: "dict[TaskName, Callable[[list[Any]], Page]]" = {
    "binary": _binary_page,
    "multiclass": _multiclass_page,
    "regression": _regression_page,
}
