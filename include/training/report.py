"""This file writes what a model is worth on its hold-out: the plots that fit its task, and the card."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from include.learning.kinds import task_of
from include.learning.metrics import GOVERNOR_DEFAULT
from include.learning.scoring import Floats
from include.learning.task import Labels
from include.training.plots import PLOTS, draw_curves, draw_importance, new_axes, save

NAMED = 10  # columns that the card names as those the model relies on most


def write_report(folder: Path, manifest: Mapping[str, Any], labels: Labels, predictions: Floats) -> None:
    """Write `plots/*.png` and `card.md` into a model's folder."""
    plots = folder / "plots"
    plots.mkdir(parents=True)
    mine = task_of(manifest)
    task, true, (found,) = mine.compare(labels, (mine, predictions))
    for name, (title, x, y, draw) in PLOTS[task.name].items():
        axes = new_axes(title, x, y)
        draw(axes, task, true, found)
        save(axes, plots / f"{name}.png")
    axes = new_axes("Loss", "epoch", "loss")
    draw_curves(axes, manifest["curves"])
    save(axes, plots / "loss.png")
    axes = new_axes("Importance", f"rise of {GOVERNOR_DEFAULT[task.name]} when the column is shuffled", "")
    draw_importance(axes, manifest["importance"])
    save(axes, plots / "importance.png")
    (folder / "card.md").write_text(card(manifest))


def card(manifest: Mapping[str, Any]) -> str:
    """Return the model card: what it predicts, what it learned from, what it is worth, what it is not for."""
    metrics = ", ".join(f"{name} {value:.4f}" for name, value in manifest["metrics"].items())
    tree = ", ".join(f"{name} {value:.4f}" for name, value in manifest.get("baseline", {}).items())
    labels = ", ".join(f"{name} {value:.4g}" for name, value in manifest["labels"].items())
    by_importance = sorted(manifest["importance"].items(), key=lambda item: -item[1])
    relied_on = ", ".join(f"{name} {value:.4f}" for name, value in by_importance[:NAMED] if value)
    ignored = sum(not value for _, value in by_importance)
    categorical = ", ".join(f"{name} ({len(seen)})" for name, seen in manifest["categories"].items()) or "none"
    others = ", ".join([*manifest["features"].get("text", ()), *manifest["features"].get("image", ())])
    return f"""# {manifest["pipeline"]}: model of request `{manifest["request_id"]}`

{manifest["description"]}

| | |
| --- | --- |
| asked for because | {manifest["reason"]} |
| learned from | {manifest["train_rows"]:,} rows, {" to ".join(manifest["train_days"])} |
| judged on | {manifest["holdout_rows"]:,} rows it never saw, {" to ".join(manifest["holdout_days"])} |
| snapshot of the table | `{manifest["snapshot_id"]}` |
| worth on those | {metrics} |
| a boosted tree (scikit-learn, as it comes) on the same rows | {tree or "not asked"} |
| task | {manifest["task"]["name"]} |
| `{manifest["target"]}` in training | {labels} |
| numeric inputs | {", ".join(manifest["features"]["numeric"]) or "none"} |
| categorical inputs (values known) | {categorical} |
| texts and pictures | {others or "none"} |
| relies most on (rise of the loss when shuffled) | {relied_on or "nothing that shuffling shows"} |
| columns without a measurable effect | {ignored} |
| largest difference between the framework's answers and this file's | {manifest["parity"]:.1e} |
| sha256 | `{manifest["sha256"]}` |
{slice_tables(manifest.get("slices", {}))}
**Not for** rows of another kind than those it learned from: a category it does not know counts as unknown, a missing
number as the training median. Its answers follow the level of its training window; when that moves, they are off until
the next training.
"""


def slice_tables(slices: Mapping[str, Mapping[str, Mapping[str, float]]]) -> str:
    """Return a table of the groups of each column of `gate.slices`, largest first; "" where none is named."""
    if not slices:
        return ""
    title = "\n**By slice**: what it is worth on the held-out rows of each value of `gate.slices`, most rows first.\n"
    return title + "".join(_slice_table(column, groups) for column, groups in slices.items())


def _slice_table(column: str, groups: Mapping[str, Mapping[str, float]]) -> str:
    if not groups:
        return f"\nNo value of `{column}` has as many held-out rows as `gate.min_slice_rows` asks for.\n"
    metrics = list(dict.fromkeys(name for worth in groups.values() for name in worth if name != "rows"))
    lines = [[f"`{column}`", "rows", *metrics], ["---"] * (2 + len(metrics))]
    for value, worth in groups.items():
        numbers = [f"{worth[name]:.4f}" if name in worth else "" for name in metrics]
        lines.append([_in_a_cell(value), f"{worth['rows']:,}", *numbers])
    return "\n" + "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _in_a_cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|") or "(missing)"
