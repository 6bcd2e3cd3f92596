"""This file draws what a model is worth on its hold-out, and writes the card that goes with it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

Floats = npt.NDArray[np.float32]

_INK, _QUIET = "#1b6e53", "#9aa5a0"


def write_report(folder: Path, manifest: Mapping[str, Any], labels: Floats, predictions: Floats) -> None:
    """Write `plots/*.png` and `card.md` into a model's folder."""
    plots = folder / "plots"
    plots.mkdir(parents=True)
    draw_roc(_axes("ROC", "false positive rate", "true positive rate"), labels, predictions, plots / "roc.png")
    draw_calibration(_axes("Calibration", "predicted", "observed"), labels, predictions, plots / "calibration.png")
    draw_confusion(
        _axes("Confusion at the base rate", "predicted", "true"),
        labels,
        predictions,
        manifest["base_rate"],
        plots / "confusion.png",
    )
    draw_curves(_axes("Loss", "epoch", "log-loss"), manifest["curves"], plots / "loss.png")
    (folder / "card.md").write_text(card(manifest))


def draw_roc(axes: Axes, labels: Floats, predictions: Floats, path: Path) -> None:
    """Draw true against false positives over all thresholds."""
    order = np.argsort(-predictions, kind="stable")
    hits, misses = np.cumsum(labels[order]), np.cumsum(1 - labels[order])
    last_of_level = np.append(np.diff(predictions[order]) != 0, True)
    x, y = misses[last_of_level] / misses[-1], hits[last_of_level] / hits[-1]
    axes.plot([0, *x], [0, *y], color=_INK)
    axes.plot([0, 1], [0, 1], color=_QUIET, linestyle="--")
    _save(axes, path)


def draw_calibration(axes: Axes, labels: Floats, predictions: Floats, path: Path) -> None:
    """Draw the observed share against the predicted one, in ten groups of equally many rows."""
    groups = [group for group in np.array_split(np.argsort(predictions, kind="stable"), 10) if len(group)]
    predicted = [float(predictions[group].mean()) for group in groups]
    observed = [float(labels[group].mean()) for group in groups]
    top = max(*predicted, *observed)
    axes.plot([0, top], [0, top], color=_QUIET, linestyle="--")
    axes.plot(predicted, observed, color=_INK, marker="o")
    _save(axes, path)


def draw_confusion(axes: Axes, labels: Floats, predictions: Floats, threshold: float, path: Path) -> None:
    """Draw how many rows of each class fall on which side of a threshold."""
    table = np.array(
        [[np.sum((labels == true) & ((predictions > threshold) == said)) for said in (0, 1)] for true in (0, 1)]
    )
    axes.imshow(table, cmap="Greens")
    for (true, said), rows in np.ndenumerate(table):
        axes.text(
            said, true, f"{rows:,}", ha="center", va="center", color="white" if rows > table.max() / 2 else "black"
        )
    axes.set_xticks([0, 1], ["no", "yes"])
    axes.set_yticks([0, 1], ["no", "yes"])
    _save(axes, path)


def draw_curves(axes: Axes, curves: Mapping[str, list[float]], path: Path) -> None:
    """Draw the loss on both windows after each epoch."""
    epochs = range(1, len(curves["loss"]) + 1)
    axes.plot(epochs, curves["loss"], color=_INK, label="training")
    axes.plot(epochs, curves["holdout_loss"], color=_QUIET, label="hold-out")
    axes.legend()
    _save(axes, path)


def card(manifest: Mapping[str, Any]) -> str:
    """Return the model card: what it predicts, what it learned from, what it is worth, what it is not for."""
    metrics = manifest["metrics"]
    categorical = ", ".join(f"{name} ({len(seen)})" for name, seen in manifest["categories"].items()) or "none"
    return f"""# {manifest["pipeline"]}: model of request `{manifest["request_id"]}`

{manifest["description"]}

| | |
| --- | --- |
| asked for because | {manifest["reason"]} |
| learned from | {manifest["train_rows"]:,} rows, {" to ".join(manifest["train_days"])} |
| judged on | {manifest["holdout_rows"]:,} rows it never saw, {" to ".join(manifest["holdout_days"])} |
| snapshot of the table | `{manifest["snapshot_id"]}` |
| AUC / log-loss / Brier | {metrics["auc"]:.4f} / {metrics["log_loss"]:.4f} / {metrics["brier"]:.4f} |
| share of `{manifest["target"]}` in training | {manifest["base_rate"]:.1%} |
| numeric inputs | {", ".join(manifest["features"]["numeric"]) or "none"} |
| categorical inputs (values known) | {categorical} |
| largest difference from PyTorch | {manifest["parity"]:.1e} |
| sha256 | `{manifest["sha256"]}` |

**Not for** rows of another kind than those it learned from: a category it does not know counts as unknown, a missing
number as the training median. Its probabilities follow the base rate of its training window; when that moves, they are
off until the next training.
"""


def _axes(title: str, x: str, y: str) -> Axes:
    figure = Figure(figsize=(5, 4), dpi=80, layout="tight")
    FigureCanvasAgg(figure)
    axes: Axes = figure.add_subplot(title=title, xlabel=x, ylabel=y)
    axes.spines[["top", "right"]].set_visible(False)
    return axes


def _save(axes: Axes, path: Path) -> None:
    figure = axes.figure
    if isinstance(figure, Figure):
        figure.savefig(path)
