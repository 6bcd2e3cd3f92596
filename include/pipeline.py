"""This file says what a pipeline is: the frozen, strict types behind `config/pipelines/*.yaml`."""

from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from include.learning.metrics import GATE_DEFAULT, GOVERNOR_DEFAULT, METRICS, metrics_of
from include.policy import (
    COSTS_HELP,
    COSTS_OF,
    Alerts,
    Compute,
    Events,
    Gate,
    Governor,
    Monitoring,
    People,
    PlatformName,
    Retention,
    Rollout,
)
from include.recipe import Training
from include.sources import Source
from include.spelling import did_you_mean
from include.strict import Strict

ColumnType = Literal["string", "bigint", "double", "boolean", "date", "timestamp"]
# Columns that files of predictions have besides the key and the features.
ANSWER_ID, ANSWER_DAY, ANSWER_VERSION, ANSWERED_AT = "answer_id", "answer_day", "answer_version", "answered_at"
RESERVED = (ANSWER_ID, ANSWER_DAY, ANSWER_VERSION, ANSWERED_AT, "label", "prediction", "probabilities")


class Schedule(Strict):
    """When `ingest` runs by itself: one cron tick is one partition."""

    cron: str = Field("0 5 * * *", description="Cron expression, in UTC.")
    start: date = Field(description="The first partition that is ingested by itself.")
    end: date | None = Field(None, description="The last one; none means for ever.")
    wait_hours: float = Field(12, gt=0, description="Hours a night waits for its delivery before it fails.")

    @field_validator("cron")
    @classmethod
    def _is_cron(cls, value: str) -> str:
        from croniter import croniter  # 0.1 s

        # croniter takes a sixth field, of seconds: that would be many runs for one partition.
        if not croniter.is_valid(value) or len(croniter.expand(value)[0]) > 5:
            raise ValueError(
                f"'{value}' is no cron expression; expected are minute, hour, day of the month, month and weekday, "
                "such as '0 5 * * *' for each day at 05:00 UTC"
            )
        return value

    @property
    def first_run(self) -> datetime:
        """Return the earliest moment of a scheduled run: a day is ingested at the cron tick after it is over."""
        return datetime.combine(self.start + timedelta(days=1), time.min, UTC)

    @property
    def last_run(self) -> datetime | None:
        """Return the latest moment of a scheduled run, if the schedule ends."""
        return datetime.combine(self.end + timedelta(days=1), time.max, UTC) if self.end else None


class Join(Strict):
    """Columns looked up in a reference table; a row without a match keeps nulls."""

    reference: str = Field(description="Name of a table in `source.references`.")
    on: dict[str, str] = Field(description="This table's column: the reference's column.")
    take: dict[str, str] = Field(description="New column: Spark SQL over the reference's columns.")


class Deduplicate(Strict):
    """Which of several rows with the same key stays."""

    by: list[str] = Field(description="Columns; rows of one day that are alike in them are one row.")
    order: list[str] = Field(description="Spark SQL orderings; the first row in this order stays.")


class Cleaning(Strict):
    """Rules that turn deliveries into the clean table, applied in the order of these keys."""

    columns: dict[str, ColumnType] = Field(description="Columns of the events delivery and their types.")
    labels: dict[str, ColumnType] = Field(
        default_factory=dict, description="Columns of the labels delivery and their types."
    )
    optional: list[str] = Field(
        default_factory=list, description="Columns a delivery may lack, like one that came up lately: null there."
    )
    deduplicate: Deduplicate
    joins: list[Join] = Field(default_factory=list)
    derive: dict[str, str] = Field(default_factory=dict, description="New column: Spark SQL expression, in order.")
    fill: dict[str, str | float | int | bool] = Field(default_factory=dict, description="Value for missing ones.")
    rules: dict[str, str] = Field(
        default_factory=dict, description="Rule: Spark SQL that holds for a good row; other rows are quarantined."
    )
    drop: list[str] = Field(default_factory=list, description="Columns not kept in the clean table.")


class Pipeline(Strict):
    """One model to be kept fresh: the whole of `config/pipelines/<name>.yaml`."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]{1,60}$", description="The file's name; not written in the YAML.")
    description: str = Field(description="One sentence for people: what is predicted, and when it is asked.")
    owner: str = Field(description="Who answers for it; shown in Airflow.")
    schedule: Schedule
    source: Source
    key: str = Field(description="Column that names an event once and for all; labels are matched by it.")
    date: str = Field(
        description="Column of type date that says which partition an event belongs to. A name that the delivery does "
        "not have becomes a column that holds the delivery's own day."
    )
    cleaning: Cleaning
    expectations: list[dict[str, dict[str, Any]]] = Field(
        description="Great Expectations by their snake_case name with their arguments, for each partition."
    )
    training: Training
    platform: PlatformName = Field(
        "local",
        description="Where trainings run: local (this machine), aws (SageMaker) or kubernetes; "
        "config/platforms/<platform>.yaml says the rest.",
    )
    compute: Compute = Field(default_factory=Compute)
    gate: Gate = Field(default_factory=Gate)
    monitoring: Monitoring = Field(default_factory=Monitoring)
    governor: Governor = Field(default_factory=Governor)
    rollout: Rollout = Field(default_factory=Rollout)
    retention: Retention = Field(default_factory=Retention)
    alerts: Alerts = Field(default_factory=Alerts)
    people: People = Field(default_factory=People)
    events: Events | None = Field(None, description="A queue that asks for new models, too; none if left out.")

    @model_validator(mode="after")
    def _keeps_what_is_learned_from(self) -> "Pipeline":
        kept, labels = self.retention.clean_days, self.source.labels
        delay = labels.delay_days if labels else 0
        needed = self.training.window_days + self.training.holdout_days + delay
        if kept is not None and kept < needed:
            raise ValueError(
                f"'retention.clean_days' is {kept}, but a training needs {needed}: 'window_days' + 'holdout_days'"
                + (" + the labels' 'delay_days'" if delay else "")
            )
        return self

    @model_validator(mode="before")
    @classmethod
    def _metrics_of_the_task(cls, content: Any) -> Any:
        training = content.get("training") if isinstance(content, dict) else None
        task = training.get("task") if isinstance(training, dict) else None
        for part, defaults in (("gate", GATE_DEFAULT), ("governor", GOVERNOR_DEFAULT)):
            policy = content.get(part, {}) if isinstance(task, str) and task in defaults else None
            if isinstance(policy, dict):
                content = {**content, part: {"metric": defaults[str(task)], **policy}}
        return content

    @model_validator(mode="after")
    def _metrics_fit(self) -> "Pipeline":
        task, costs = self.training.task, self.gate.costs
        if costs is not None and not isinstance(costs, COSTS_OF.get(task, ())):
            raise ValueError(f"'gate.costs' does not fit 'training.task: {task}'. {COSTS_HELP}")
        allowed = metrics_of(task, has_costs=costs is not None)
        for key, policy, unit in (("gate", self.gate, "margin"), ("governor", self.governor, "max_quality_drop")):
            if policy.metric == "cost" and costs is None:
                raise ValueError(f"'{key}.metric' is 'cost', but 'gate.costs' is missing. {COSTS_HELP}")
            if policy.metric not in allowed:
                raise ValueError(
                    f"'{key}.metric' is '{policy.metric}', which does not fit 'training.task: {task}'; "
                    f"allowed: {', '.join(allowed)}"
                )
            if METRICS[policy.metric].has_unit and unit not in policy.model_fields_set:
                raise ValueError(
                    f"'{key}.{unit}' is missing: '{policy.metric}' is measured in a unit of your own, "
                    "so that no default fits; say how much of it matters"
                )
        return self

    @model_validator(mode="after")
    def _names_agree(self) -> "Pipeline":
        columns = self.cleaning.columns
        for role, column in (("key", self.key), ("date", self.date)):
            guess = did_you_mean(column, columns)
            # A date that resembles no column is one that the delivery does not bring.
            if column not in columns and (role == "key" or guess):
                raise ValueError(
                    f"'{role}' names '{column}', which 'cleaning.columns' does not have: {sorted(columns)}.{guess}"
                )
        if columns.get(self.date, "date") != "date":
            raise ValueError(
                f"'date' names '{self.date}', which is {columns[self.date]} in 'cleaning.columns', not date. Write "
                "another name that no column has, such as 'day': it becomes the day of the delivery"
            )
        missing = {join.reference for join in self.cleaning.joins} - set(self.source.references)
        if missing:
            raise ValueError(f"'cleaning.joins' uses {sorted(missing)}, not in 'source.references'")
        for part, names in (
            ("training", {self.training.target, *self.training.features.names}),
            ("gate.slices", {*self.gate.slices}),
        ):
            if unknown := names - self.clean_columns:
                guesses = "".join(did_you_mean(name, self.clean_columns) for name in sorted(unknown))
                raise ValueError(
                    f"'{part}' uses {sorted(unknown)}, not columns of the clean table: {sorted(self.clean_columns)}."
                    f"{guesses}"
                )
        if reserved := {self.key, self.date, *self.training.features.names} & set(RESERVED):
            raise ValueError(
                f"'key', 'date' or 'training.features' uses {sorted(reserved)}, which files of predictions keep for "
                f"themselves. Derive a column of another name under 'cleaning.derive'"
            )
        return self

    @model_validator(mode="after")
    def _labels_can_be_matched(self) -> "Pipeline":
        source, cleaning = self.source.labels, self.cleaning
        if (source is None) == bool(cleaning.labels):
            raise ValueError(
                "'source.labels' and 'cleaning.labels' go together: one of them is there without the other"
            )
        kind, expected = cleaning.labels.get(self.label_key), cleaning.columns[self.key]
        if source is not None and kind is None:
            raise ValueError(f"'cleaning.labels' lacks the key '{self.label_key}': labels could not be matched")
        if source is not None and kind != expected:
            raise ValueError(f"'cleaning.labels.{self.label_key}' is {kind}, but the key '{self.key}' is {expected}")
        if unknown := set(cleaning.optional) - {*cleaning.columns, *cleaning.labels}:
            raise ValueError(
                f"'cleaning.optional' names {sorted(unknown)}, not in 'cleaning.columns' or 'cleaning.labels'"
            )
        if needed := {self.key, self.date, self.label_key} & set(cleaning.optional):
            raise ValueError(f"'cleaning.optional' names {sorted(needed)}, without which no row can be placed")
        return self

    @property
    def label_key(self) -> str:
        """Return the column of the labels that names their event."""
        return (self.source.labels and self.source.labels.key) or self.key

    @property
    def outcomes(self) -> dict[str, ColumnType]:
        """Return the columns that labels bring, with their types."""
        known = {*self.cleaning.columns, self.label_key}
        return {name: kind for name, kind in self.cleaning.labels.items() if name not in known}

    @property
    def clean_columns(self) -> set[str]:
        """Return the names of the clean table's columns."""
        cleaning = self.cleaning
        taken = {column for join in cleaning.joins for column in join.take}
        return {*cleaning.columns, self.date, *self.outcomes, *taken, *cleaning.derive} - set(cleaning.drop)
