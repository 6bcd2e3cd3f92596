"""This file is the table of metrics: which learning tasks each one judges, and which way is better."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

TaskName = Literal["binary", "multiclass", "regression"]
MetricName = Literal["auc", "log_loss", "brier", "accuracy", "macro_f1", "cost", "rmse", "mae", "r2"]


@dataclass(frozen=True)
class Metric:
    """One way to judge predictions."""

    tasks: tuple[TaskName, ...]
    better: Literal["higher", "lower"]
    has_unit: bool = False  # the target's or money's: no margin or drop fits every pipeline


METRICS: dict[str, Metric] = {
    "auc": Metric(("binary",), "higher"),
    "log_loss": Metric(("binary", "multiclass"), "lower"),
    "brier": Metric(("binary",), "lower"),
    "accuracy": Metric(("binary", "multiclass"), "higher"),
    "macro_f1": Metric(("multiclass",), "higher"),
    "r2": Metric(("regression",), "higher"),
    "rmse": Metric(("regression",), "lower", has_unit=True),
    "mae": Metric(("regression",), "lower", has_unit=True),
    "cost": Metric(("binary", "multiclass"), "lower", has_unit=True),
}
# On the gate's rows both models meet the same spread, so that R² is fair there; single days differ in it.
GATE_DEFAULT: dict[str, MetricName] = {"binary": "auc", "multiclass": "log_loss", "regression": "r2"}
GOVERNOR_DEFAULT: dict[str, MetricName] = {"binary": "log_loss", "multiclass": "log_loss", "regression": "rmse"}


def metrics_of(task: str, *, has_costs: bool = False) -> list[str]:
    """Return the names of the metrics that judge a task; `cost` is one only where wrong answers have a price."""
    return [name for name, metric in METRICS.items() if task in metric.tasks and (has_costs or name != "cost")]


def gain(metric: str, new: Any, old: Any) -> Any:
    """Return by how much new values of a metric are better than old ones: positive is better, for any metric."""
    return new - old if METRICS[metric].better == "higher" else old - new


def in_words(numbers: Mapping[str, Any]) -> str:
    """Return the metrics among a release's numbers as people read them; what its training cost is no quality."""
    return ", ".join(f"{name} {value:.3f}" for name, value in numbers.items() if name in METRICS)
