"""This file draws what predictions for a hold-out are worth, task by task."""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from include.learning.metrics import TaskName
from include.learning.multiclass import Multiclass
from include.learning.scoring import Floats
from include.learning.task import Task

Draw = Callable[[Axes, Task, Floats, Floats], None]

_INK, _QUIET = "#1b6e53", "#9aa5a0"
_MOST_NAMED = 30  # classes whose names and numbers can still be read


def draw_roc(axes: Axes, _task: Task, labels: Floats, predictions: Floats) -> None:
    """Draw true against false positives over all thresholds."""
    order = np.argsort(-predictions, kind="stable")
    hits, misses = np.cumsum(labels[order]), np.cumsum(1 - labels[order])
    last_of_level = np.append(np.diff(predictions[order]) != 0, True)
    x, y = misses[last_of_level] / misses[-1], hits[last_of_level] / hits[-1]
    axes.plot([0, *x], [0, *y], color=_INK)
    axes.plot([0, 1], [0, 1], color=_QUIET, linestyle="--")


def draw_calibration(axes: Axes, _task: Task, labels: Floats, predictions: Floats) -> None:
    """Draw the observed share against the predicted one, in ten groups of equally many rows."""
    groups = [group for group in np.array_split(np.argsort(predictions, kind="stable"), 10) if len(group)]
    predicted = [float(predictions[group].mean()) for group in groups]
    observed = [float(labels[group].mean()) for group in groups]
    top = max(*predicted, *observed)
    axes.plot([0, top], [0, top], color=_QUIET, linestyle="--")
    axes.plot(predicted, observed, color=_INK, marker="o")


def draw_yes_and_no(axes: Axes, _task: Task, labels: Floats, predictions: Floats) -> None:
    """Draw how many rows of each class fall on which side of the base rate."""
    _draw_counts(axes, _counts(labels, predictions > labels.mean(), 2), ["no", "yes"])


def draw_classes(axes: Axes, task: Task, labels: Floats, predictions: Floats) -> None:
    """Draw how many rows of each class were answered with which."""
    names = list(task.classes) if isinstance(task, Multiclass) else []
    _draw_counts(axes, _counts(labels, task.decided(predictions), len(names)), names)


def draw_per_class(axes: Axes, task: Task, labels: Floats, predictions: Floats) -> None:
    """Draw for each class the share of its rows that were recognised, and of its answers that were right."""
    names = list(task.classes) if isinstance(task, Multiclass) else []
    counts = _counts(labels, task.decided(predictions), len(names))
    right, place = np.diag(counts), np.arange(len(names))
    axes.barh(place - 0.2, right / np.maximum(counts.sum(axis=1), 1), 0.4, color=_INK, label="recall")
    axes.barh(place + 0.2, right / np.maximum(counts.sum(axis=0), 1), 0.4, color=_QUIET, label="precision")
    if len(names) <= _MOST_NAMED:
        axes.set_yticks(place, names)
    axes.legend()


def draw_predicted(axes: Axes, _task: Task, labels: Floats, predictions: Floats) -> None:
    """Draw each row's predicted against its true value."""
    ends = [min(labels.min(), predictions.min()), max(labels.max(), predictions.max())]
    axes.plot(ends, ends, color=_QUIET, linestyle="--")
    axes.plot(labels, predictions, ".", color=_INK, markersize=2, alpha=0.4)


def draw_residuals(axes: Axes, _task: Task, labels: Floats, predictions: Floats) -> None:
    """Draw by how much predictions are off."""
    axes.hist(predictions - labels, bins=50, color=_INK)
    axes.axvline(0, color=_QUIET, linestyle="--")


def draw_curves(axes: Axes, curves: Mapping[str, list[float]]) -> None:
    """Draw the loss on both windows after each epoch."""
    epochs = range(1, len(curves["loss"]) + 1)
    axes.plot(epochs, curves["loss"], color=_INK, label="training")
    axes.plot(epochs, curves["holdout_loss"], color=_QUIET, label="hold-out")
    axes.legend()


def draw_importance(axes: Axes, importance: Mapping[str, float]) -> None:
    """Draw what shuffling a column costs, for the columns that cost most."""
    top = sorted(importance.items(), key=lambda item: item[1])[-_MOST_NAMED:]
    axes.barh([name for name, _ in top], [value for _, value in top], color=_INK)


PLOTS: dict[TaskName, dict[str, tuple[str, str, str, Draw]]] = {
    "binary": {
        "roc": ("ROC", "false positive rate", "true positive rate", draw_roc),
        "calibration": ("Calibration", "predicted", "observed", draw_calibration),
        "confusion": ("Confusion at the base rate", "predicted", "true", draw_yes_and_no),
    },
    "multiclass": {
        "confusion": ("Confusion", "predicted", "true", draw_classes),
        "classes": ("Classes", "share", "", draw_per_class),
    },
    "regression": {
        "predicted": ("Predicted and true", "true", "predicted", draw_predicted),
        "residuals": ("Residuals", "predicted less true", "rows", draw_residuals),
    },
}


def new_axes(title: str, x: str, y: str) -> Axes:
    """Return an empty plot."""
    figure = Figure(figsize=(5, 4), dpi=80, layout="tight")
    FigureCanvasAgg(figure)
    axes: Axes = figure.add_subplot(title=title, xlabel=x, ylabel=y)
    axes.spines[["top", "right"]].set_visible(False)
    return axes


def save(axes: Axes, path: Path) -> None:
    """Write a plot as PNG."""
    figure = axes.figure
    if isinstance(figure, Figure):
        figure.savefig(path)


def _counts(labels: Floats, said: npt.NDArray[np.generic], num_classes: int) -> npt.NDArray[np.intp]:
    cells = labels.astype(np.intp) * num_classes + said.astype(np.intp)
    return np.bincount(cells, minlength=num_classes**2).reshape(num_classes, num_classes)


def _draw_counts(axes: Axes, table: npt.NDArray[np.intp], names: list[str]) -> None:
    axes.imshow(table, cmap="Greens")
    if len(names) > _MOST_NAMED:
        return
    for (true, said), rows in np.ndenumerate(table):
        axes.text(
            said, true, f"{rows:,}", ha="center", va="center", color="white" if rows > table.max() / 2 else "black"
        )
    axes.set_xticks(range(len(names)), names)
    axes.set_yticks(range(len(names)), names)
