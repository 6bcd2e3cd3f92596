"""This file shows how a model did over time: a row per measured day and version, as a table, as JSON and as a plot."""

import base64
import io
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

from rich.table import Table

from include.ledger import Window, nights, open_ledger
from include.page import page_of
from include.pipeline import Pipeline

STATES = ("drift", "prediction", "inputs", "labels", "calibration", "slices", "concept")
LEGEND = (
    "estimated: without labels · error: of the estimate · drift: share of what the model relies on\n"
    "moved: what is no longer as in training or at its hold-out · unknown: what cannot be measured, or not yet"
)
_INK, _QUIET, _MARK = "#1b6e53", "#9aa5a0", "#b00020"

Row = dict[str, Any]


def history_of(pipeline: Pipeline) -> list[Row]:
    """Return one row per measured day and version, oldest first; what was not measured is null."""
    with open_ledger() as session:
        windows = nights.windows_of(session, pipeline.name)
    return [row_of(window, pipeline.governor.metric) for window in windows]


def row_of(window: Window, metric: str) -> Row:
    """Return a window in a few plain values, in the metric that the governor watches."""
    measures: Mapping[str, Any] = window.measures
    estimate, drift = measures.get("estimate", {}), measures.get("drift", {})
    return {
        "day": window.day,
        "version": window.version,
        "rows": window.rows,
        "labelled": window.labelled,
        metric: window.quality,
        "estimated": estimate.get(metric),
        "estimated_range": estimate.get("ranges", {}).get(metric),
        "estimate_error": measures.get("estimate_error", {}).get(metric),
        "drift": window.drifted_share,
        "drift_unweighted": drift.get("plain_share"),
        "states": {name: measures.get(name, {}).get("state", "unknown") for name in STATES},
    }


def history_table(rows: Sequence[Row], metric: str) -> Table:
    """Return the rows as a table for people."""
    table = Table(box=None, caption=LEGEND, caption_justify="left")
    for heading in ("day", "model", "rows", "labelled", metric, "estimated", "error", "drift"):
        table.add_column(heading, no_wrap=True)
    table.add_column("moved", style="red")
    table.add_column("unknown", style="yellow")
    for row in rows:
        share = "" if row["drift"] is None else f"{row['drift']:.0%}"
        numbers = [_number(row[metric]), _number(row["estimated"]), _number(row["estimate_error"], "+.3f"), share]
        named = (_named(row, "drifted", "yes"), _named(row, "unknown"))
        table.add_row(row["day"], f"v{row['version']}", f"{row['rows']:,}", f"{row['labelled']:,}", *numbers, *named)
    return table


def history_page(pipeline: Pipeline) -> str:
    """Return plot and table as an HTML page that needs nothing from elsewhere."""
    rows, metric = history_of(pipeline), pipeline.governor.metric
    table = history_table(list(reversed(rows)), metric) if rows else "No day was served and measured yet."
    picture = base64.b64encode(history_plot(rows, metric)).decode()
    image = f'<img alt="Quality, estimate and drift over time" src="data:image/png;base64,{picture}">'
    return page_of(f"[bold]{pipeline.name}[/]: its measured days", table, above=image)


def history_plot(rows: Sequence[Row], metric: str) -> bytes:
    """Return quality, its estimate and drift over time as PNG, with a mark where another version began to answer."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415 - most commands draw nothing
    from matplotlib.figure import Figure  # noqa: PLC0415

    figure = Figure(figsize=(11, 5), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    quality, drift = figure.subplots(2, sharex=True, height_ratios=(2, 1))
    for version in sorted({row["version"] for row in rows}):
        _draw_version([row for row in rows if row["version"] == version], metric, quality, drift)
    for day, version in changes_of(rows):
        for axes in (quality, drift):
            axes.axvline(day, color=_MARK, linewidth=0.8)
        quality.annotate(f"v{version}", (day, 1), xycoords=("data", "axes fraction"), color=_MARK, va="bottom")
    quality.plot([], [], color=_INK, marker="o", markersize=3, label="true")
    quality.plot([], [], color=_QUIET, linestyle="--", label="estimated before labels came, 90% by chance")
    quality.set_ylabel(metric)
    quality.legend(frameon=False)
    drift.set(ylabel="drift, weighted", ylim=(-0.02, 1.02))
    for axes in (quality, drift):
        axes.spines[["top", "right"]].set_visible(False)
    picture = io.BytesIO()
    figure.savefig(picture, format="png")
    return picture.getvalue()


def changes_of(rows: Sequence[Row]) -> list[tuple[date, int]]:
    """Return where each version answered first, after the first one."""
    first: dict[int, date] = {}
    for row in rows:
        first.setdefault(row["version"], date.fromisoformat(row["day"]))
    return [(day, version) for version, day in sorted(first.items(), key=lambda item: item[1])][1:]


def _draw_version(rows: Sequence[Row], metric: str, quality: Any, drift: Any) -> None:
    def known(name: str) -> tuple[list[date], list[Any]]:
        chosen = [row for row in rows if row[name] is not None]
        return [date.fromisoformat(row["day"]) for row in chosen], [row[name] for row in chosen]

    quality.plot(*known(metric), color=_INK, marker="o", markersize=3)
    quality.plot(*known("estimated"), color=_QUIET, linestyle="--")
    days, ranges = known("estimated_range")
    if ranges:
        quality.fill_between(days, *zip(*ranges, strict=True), color=_QUIET, alpha=0.25, linewidth=0)
    drift.plot(*known("drift"), color=_INK, marker="o", markersize=3)


def _named(row: Row, *states: str) -> str:
    return ", ".join(name for name, state in row["states"].items() if state in states)


def _number(value: float | None, form: str = ".3f") -> str:
    return "" if value is None else format(value, form)
