"""This file measures how far a day's columns have moved from the window the model was trained on, with Evidently."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from include import reports
from include.learning.task import PREDICTION
from include.monitoring.noise import Distance, category_distance, columns_of, number_distance, summarised
from include.policy import Monitoring
from include.recipe import Features

if TYPE_CHECKING:
    import pandas as pd
    from evidently.core.report import Snapshot

# Drawing takes most of a window's seconds, and hundreds of plots tens of megabytes: what has drifted is drawn, or else
# the few columns that moved most; the table above the plots names all.
FEWEST_DRAWN, MOST_DRAWN = 4, 40
SMALLEST_EFFECT = 0.05  # less is never called drift, however still the training window was
_SEED = 7

Show = Callable[["Snapshot", str], None]


@dataclass(frozen=True)
class Column:
    """What is known about one column's drift."""

    state: Literal["drifted", "stable", "unknown"]
    effect: float | None = None
    threshold: float | None = None
    why: str = ""
    weight: float = 0.0  # the model's reliance on it, as a share of 1; that of the prediction is 0


@dataclass(frozen=True)
class Plan:
    """Which columns can be compared, how, and from which effect size on they have drifted."""

    numeric: tuple[str, ...]
    categorical: tuple[str, ...]
    thresholds: Mapping[str, float]


def measure_drift(  # noqa: PLR0913  the two samples, what is compared how, and the page
    current: pa.Table,
    reference: pa.Table,
    features: Features,
    *,
    noise: Mapping[str, float],
    weights: Mapping[str, float],
    policy: Monitoring,
    show: Show,
) -> dict[str, Column]:
    """Compare each feature and the prediction with the reference, have it shown, and return the columns' states.

    Effect sizes, not p-values: normed Wasserstein distance for numbers, Jensen-Shannon for categories. They do not grow
    with the rows. A column that cannot be compared is "unknown", with the reason.

    :param noise: by column, the effect size of the furthest single day of the training window.
    :param weights: by feature, the share of the model's reliance that lies on it.
    :param show: is given Evidently's plots and our table as HTML, where anything could be compared.
    """
    current, reference = (summarised(sample(table, policy.sample_rows), features) for table in (current, reference))
    numeric, categorical = columns_of(reference, features)
    names = [*numeric, *categorical]
    problems = {name: why for name in names if (why := _problem(current, reference, name, is_number=name in numeric))}
    plan = Plan(
        numeric=tuple(name for name in numeric if name not in problems),
        categorical=tuple(name for name in categorical if name not in problems),
        thresholds={name: max(SMALLEST_EFFECT, policy.noise_factor * noise.get(name, 0.0)) for name in names},
    )

    def judged(effects: Mapping[str, float | None]) -> dict[str, Column]:
        found = {name: column_of(problems.get(name), effects.get(name), plan.thresholds[name]) for name in names}
        return {name: replace(column, weight=round(weights.get(name, 0.0), 6)) for name, column in found.items()}

    if not (plan.numeric or plan.categorical):
        return judged({})
    kinds: dict[str, Distance] = {
        **dict.fromkeys(plan.numeric, number_distance),
        **dict.fromkeys(plan.categorical, category_distance),
    }
    effects = {name: distance(current[name], reference[name]) for name, distance in kinds.items()}
    columns = judged(effects)
    show(_drawn(current, reference, plan, _worth_drawing(columns)), summary_of(columns))
    return columns


def plain_share(columns: Mapping[str, Column], features: Features) -> float | None:
    """Return the share of features that drifted among those that could be compared; None if none could."""
    states = [columns[name].state for name in features.names if columns[name].state != "unknown"]
    return states.count("drifted") / len(states) if states else None


def weighted_share(columns: Mapping[str, Column]) -> float | None:
    """Return the share of the model's reliance that lies on drifted columns, among those that could be compared.

    None if nothing it relies on could: a column that is ignored says nothing about the model.
    """
    known = [column for column in columns.values() if column.state != "unknown"]
    total = sum(column.weight for column in known)
    drifted = sum(column.weight for column in known if column.state == "drifted")
    return round(drifted / total, 6) if total > 0 else None


def as_measures(columns: Mapping[str, Column]) -> dict[str, Any]:
    """Return the columns' states as JSON can hold them."""
    return {name: asdict(column) for name, column in columns.items()}


def summary_of(columns: Mapping[str, Column]) -> str:
    """Return the columns as a table for people: what drifted first, furthest beyond its threshold on top."""
    order = sorted(columns.items(), key=lambda item: -((item[1].effect or 0) / (item[1].threshold or 1)))
    rows = [
        (
            (name, ""),
            (column.state, {"drifted": "bad", "stable": "good"}.get(column.state, "")),
            ("" if column.effect is None else f"{column.effect:.3f}", ""),
            ("" if column.threshold is None else f"{column.threshold:.3f}", ""),
            (f"{column.weight:.0%}" if column.weight else "", ""),
            (column.why, ""),
        )
        for name, column in order
    ]
    note = (
        "Effect: how far the day lies from the window the model was trained on. Threshold: how far the furthest single "
        "day of that window lay from it, with a margin. Counts: the column's share of what the model relies on (what "
        "shuffling it cost in training). Below: Evidently's plots, on the same scale of effects."
    )
    headings = ("column", "state", "effect", "threshold", "counts", "why")
    return reports.table_of("Drift, column by column", headings, rows, note)


def column_of(problem: str | None, effect: float | None, threshold: float) -> Column:
    """Return what an effect size says beside its threshold; a problem or a missing number is "unknown"."""
    if problem is not None:
        return Column("unknown", why=problem)
    if effect is None or not np.isfinite(effect):
        return Column("unknown", why="no distance can be computed")
    state: Literal["drifted", "stable"] = "drifted" if effect > threshold else "stable"
    return Column(state, effect=round(effect, 6), threshold=round(threshold, 6))


def _problem(current: pa.Table, reference: pa.Table, name: str, *, is_number: bool) -> str | None:
    # Evidently drops an all-null category without a word, and raises on an all-null number or an empty frame.
    for where, table in (("this day", current), ("the training window", reference)):
        if name not in table.column_names:
            return f"not a column of {where}"
        values = table[name].drop_null()
        if len(values) and is_number and not is_numeric(values.type):
            return f"{values.type}, not a number, in {where}"
        if pa.types.is_floating(values.type):
            values = values.filter(pc.is_finite(values))
        if not len(values):
            return f"no value in {where}"
        if pc.count_distinct(values).as_py() == 1:
            return f"always {values[0].as_py()!r} in {where}"
    return None


def is_numeric(kind: pa.DataType) -> bool:
    """Tell whether values of a type can be compared as numbers."""
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind))


def sample(table: pa.Table, num_rows: int) -> pa.Table:
    """Return at most so many rows, always the same ones, in their order."""
    if len(table) <= num_rows:
        return table
    rows = np.random.default_rng(_SEED).choice(len(table), num_rows, replace=False)
    return table.take(np.sort(rows))


def _worth_drawing(columns: Mapping[str, Column]) -> list[str]:
    known = {name: column for name, column in columns.items() if column.effect is not None}
    furthest = sorted(known, key=lambda name: -(known[name].effect or 0) / (known[name].threshold or 1))
    num_drifted = sum(column.state == "drifted" for column in known.values())
    top = furthest[: min(max(num_drifted, FEWEST_DRAWN), MOST_DRAWN)]
    return list(dict.fromkeys([*(name for name in [PREDICTION] if name in known), *top]))


def _drawn(current: pa.Table, reference: pa.Table, plan: Plan, names: list[str]) -> "Snapshot":
    """Return Evidently's plots; it computes the same effects as we do, from the same samples."""
    # Imported here: Evidently takes seconds, and most publications have nothing to measure.
    from evidently import DataDefinition, Dataset, Report  # noqa: PLC0415
    from evidently.metrics import ValueDrift  # noqa: PLC0415

    definition = DataDefinition(
        numerical_columns=[name for name in names if name in plan.numeric],
        categorical_columns=[name for name in names if name in plan.categorical],
    )
    metrics = [
        ValueDrift(
            column=name,
            method="wasserstein" if name in plan.numeric else "jensenshannon",
            threshold=plan.thresholds[name],
        )
        for name in names
    ]
    frames = [_frame(table, plan, names) for table in (current, reference)]
    return Report(metrics).run(*(Dataset.from_pandas(frame, data_definition=definition) for frame in frames))


def _frame(table: pa.Table, plan: Plan, names: list[str]) -> "pd.DataFrame":
    kinds = {name: pa.float64() if name in plan.numeric else pa.string() for name in names}
    frame: pd.DataFrame = pa.table({name: table[name].cast(kind) for name, kind in kinds.items()}).to_pandas()
    return frame
