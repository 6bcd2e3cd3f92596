"""This file says how a pipeline decides, keeps and asks: the types of gate, governor, retention, people and so on."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from include.learning.metrics import GATE_DEFAULT, GOVERNOR_DEFAULT, MetricName, TaskName
from include.strict import Strict

Share = Annotated[float, Field(ge=0, le=1)]
Days = Annotated[int, Field(ge=1)]
Price = Annotated[float, Field(ge=0)]
ClassCosts = dict[str, dict[str, Price]]


class Costs(Strict):
    """What the wrong answers of a binary model cost; the answer is yes where that is expected to cost less."""

    false_positive: Price = Field(description="Price of a yes where no was true.")
    false_negative: Price = Field(description="Price of a no where yes was true.")


COSTS_OF: dict[TaskName, type] = {"binary": Costs, "multiclass": dict}
COSTS_HELP = (
    "Write {false_positive: 1, false_negative: 5} for a binary target, {true class: {answered class: cost}} for a "
    "multiclass one; a regression has none"
)


class Gate(Strict):
    """How a challenger must compare with the champion on the same held-out rows."""

    metric: MetricName = Field(
        default_factory=lambda: GATE_DEFAULT["binary"],
        description="What is compared. binary: auc (if left out), log_loss, brier, accuracy, cost; multiclass: "
        "log_loss (if left out), accuracy, macro_f1, cost; regression: r2 (if left out), rmse, mae.",
    )
    min_gain: float = Field(0.0, description="The challenger's mean gain must exceed this.")
    margin: float = Field(
        0.01, ge=0, description="The gain's interval may not lie below minus this; in the metric's unit."
    )
    confidence: Share = Field(0.9, description="How sure the gain's interval is to hold the true gain.")
    resamples: int = Field(500, ge=100, description="Day-block bootstrap resamples.")
    costs: Costs | ClassCosts | None = Field(
        None,
        description="For the metric `cost`, mean per row. binary: {false_positive: 1, false_negative: 5}; multiclass: "
        "{true class: {answered class: cost}}, 1 for a wrong answer that is not named.",
    )
    slices: list[str] = Field(
        default_factory=list,
        description="Columns of the clean table: no group of rows with the same value may get clearly worse.",
    )
    min_slice_rows: int = Field(300, ge=1, description="A group with fewer held-out rows is not looked at.")


class Monitoring(Strict):
    """What is measured on each served window."""

    sample_rows: int = Field(5000, ge=100, description="Rows compared with as many of the training window.")
    noise_factor: float = Field(
        1.25,
        ge=1,
        description="A column has drifted when it is this many times further from the training window than "
        "the furthest single day of that window was.",
    )
    evidently_snapshots: int = Field(
        60, ge=0, description="Newest windows kept for `evidently ui`, about 0.3 MB each; 0: none."
    )


RepairName = Literal["recalibrate", "reinstate", "retrain"]


class Repairs(Strict):
    """What may be done about a model that has gone stale, and what it has to promise first.

    A promise is a gain in the model's own loss (log-loss or RMSE), as a share of today's, estimated on the newest
    labelled days that the champion has not learned from.
    """

    recalibrate: Share | None = Field(
        0.005,
        description="Gain above which the level of the answers is corrected: two numbers (or one per class) at the end "
        "of the graph, seconds on a CPU; none: never.",
    )
    reinstate: Share | None = Field(
        0.03, description="Gain above which a former champion is put back, beyond recalibrating this one; none: never."
    )
    retrain: Share | None = Field(
        0.05,
        description="Gain above which a new model is trained, beyond recalibrating this one; none: only where an "
        "alarm finds nothing to estimate from.",
    )
    window_days: int = Field(
        14, ge=4, description="Newest labelled days that gains are estimated on, and a recalibration learns from."
    )
    doubt_days: float = Field(
        3, ge=0, description="A recalibration from n days is taken to the share n / (n + this): days are few."
    )
    confidence: Share = Field(
        0.99,
        description="How sure the interval of a gain is to hold the true gain; for all but a recalibration, which the "
        "next one mends, it must lie above nought.",
    )
    rest_days: Days = Field(3, description="Days between a champion's newest data and a cheap repair of it.")
    scout_rows: int = Field(
        15_000, ge=1000, description="Rows from which a quick learner finds out what newer data would be worth."
    )


class Governor(Strict):
    """When falling quality or drift becomes a request for a repair."""

    metric: MetricName = Field(
        default_factory=lambda: GOVERNOR_DEFAULT["binary"],
        description="Quality that is watched, window by window: a metric as at the gate; if left out, log_loss "
        "(binary, multiclass) or rmse (regression).",
    )
    max_quality_drop: float = Field(
        0.1, ge=0, description="A window this much worse than the champion's hold-out alarms; in the metric's unit."
    )
    max_drifted_share: Share = Field(
        0.1, description="Where labels are missing: share of the model's importances whose columns' drift alarms."
    )
    windows: int = Field(5, ge=1, description="Newest windows that are looked at (n).")
    alarming: int = Field(3, ge=1, description="Windows among them that must be alarming, the newest included (k).")
    min_rows: int = Field(300, ge=1, description="A window with fewer rows says nothing.")
    cooldown_days: int = Field(
        7,
        ge=0,
        description="Days between the newest data of the champion, or of a training that came to nothing, and the next "
        "training.",
    )
    repairs: Repairs = Field(default_factory=Repairs)
    refresh_days: Days | None = Field(
        None, description="Age of a champion's newest data at which a training is asked for anyway; none: never."
    )
    max_trainings_per_week: int = Field(2, ge=1, description="More are not asked for, whatever is seen.")
    monthly_hours: float | None = Field(
        None,
        gt=0,
        description="Hours of training that 30 days may cost, jobs that failed included; none: no limit. By hand is "
        "not counted.",
    )
    stop_after: int = Field(
        3, ge=1, description="Challengers in a row that came to nothing, after which a person is called instead."
    )

    @model_validator(mode="after")
    def _k_of_n(self) -> "Governor":
        if self.alarming > self.windows:
            raise ValueError(f"'alarming' is {self.alarming}, more than the {self.windows} 'windows' looked at")
        return self


class Rollout(Strict):
    """How a model that passed the gate takes over from the champion, and what sends it back."""

    shadow: Literal["replay", "live", "none"] = Field(
        "replay",
        description="Before any traffic. replay: it answers captured requests again, and is compared with what the "
        "champion answered; live: also copies of live ones, for the length of a bake.",
    )
    steps: list[Annotated[float, Field(gt=0, le=100)]] = Field(
        [25.0],
        description="Percent of the requests that it answers, step by step, chosen by their key; then it is promoted.",
    )
    bake_minutes: float = Field(10, ge=0, description="How long each step is looked at before it is judged.")
    min_requests: int = Field(200, ge=1, description="Requests by each of the two below which only failures count.")
    max_failed: Share = Field(0.001, description="Share of requests that it may fail where the champion does not.")
    max_p99_ratio: float = Field(1.5, gt=0, description="Its p99 latency may be so many times the champion's …")
    latency_budget_ms: float = Field(
        250, gt=0, description="… or this; before any traffic, 95 of 100 single requests may take no longer."
    )
    max_shift: float = Field(
        0.5,
        ge=0,
        description="How much further its answers may lie from the champion's than on the replayed requests: in "
        "standard deviations of the champion's (classes: Jensen-Shannon distance), or as a share, if they lie further "
        "than 1 apart.",
    )

    @model_validator(mode="after")
    def _steps_grow(self) -> "Rollout":
        if self.steps != sorted(set(self.steps)):
            raise ValueError(f"'steps' are {self.steps}: each must be larger than the one before")
        return self

    @property
    def seconds_between_looks(self) -> float:
        """Return how often a step is looked at: a failing one is not left for the whole bake."""
        return min(30.0, max(2.0, self.bake_minutes * 60 / 10))

    @property
    def most_seconds(self) -> float:
        """Return how long all steps may take together: twice their bakes, and an hour for an endpoint to come back."""
        return 3600 + 2 * (len(self.steps) + 1) * self.bake_minutes * 60


class Retention(Strict):
    """Days that a pipeline keeps what it leaves behind, counted from when it was last written; none means for ever."""

    raw_days: Days | None = Field(
        None, description="Deliveries as delivered: the only copy, and what changed rules would be applied to again."
    )
    clean_days: Days | None = Field(
        None, description="Days of the clean table, counted back from its newest one; older ones leave the table."
    )
    quarantine_days: Days = Field(90, description="Rows that broke a rule, for people to look at and repair.")
    predictions_days: Days = Field(90, description="What the endpoint was asked and answered; labels may come so late.")
    scores_days: Days = Field(90, description="Answers to whole days that were asked for by `evergreen score`.")
    reports_days: Days = Field(180, description="Pages of validation, drift and quality.")
    runs_days: int = Field(30, ge=2, description="Files that one task of a run hands to the next.")
    snapshots_days: int = Field(30, ge=2, description="Former states of the clean table, except those models pin.")
    models_days: int = Field(30, ge=2, description="Models that came to nothing, or are no longer gone back to.")
    former_champions: int = Field(3, ge=1, description="Newest former champions that a rollback can go back to.")
    ledger_days: int = Field(400, ge=30, description="The ledger's measured windows and decisions.")


PlatformName = Literal["local", "aws", "kubernetes"]


class Compute(Strict):
    """What trainings may cost: time, interruptions, money."""

    max_hours: float = Field(
        2, gt=0, le=120, description="A training that takes longer is stopped, on whatever platform."
    )
    spot: bool = Field(
        True, description="Take machines that cost less and may be taken away; a training goes on where it was."
    )
    on_demand_after: int = Field(2, ge=0, description="Interruptions after which the next attempt is not interrupted.")
    budget_per_month: float | None = Field(
        None,
        gt=0,
        description="Money that 30 days' trainings may cost; one that could cost more is not started. None: no limit.",
    )


class Events(Strict):
    """A queue whose messages ask for new models; several pipelines may share one."""

    connection: str = Field(
        pattern=r"^\w{1,100}$", description="Airflow connection of the queue's service; its type is redis or aws (SQS)."
    )
    queue: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9:/._-]*$", description="Redis: the stream; SQS: the queue's name or URL."
    )

    @property
    def dag_id(self) -> str:
        """Return the id of the DAG that listens to this queue."""
        return f"listen__{self.connection}__{self.queue.rpartition('/')[2]}"


class People(Strict):
    """Where a person's word is waited for; a request by hand is one already, and is never reviewed."""

    review: list[Literal["first", "quality", "drift", "message"]] = Field(
        default_factory=list, description="A training that was asked for by one of these waits for a yes first."
    )
    approval: Literal["policy", "human"] = Field(
        "policy", description="Who lets a model that passed the gate take traffic: the policy, or a person."
    )
    timeout_hours: float = Field(24, gt=0, le=720, description="How long an answer is waited for.")
    on_timeout: Literal["refuse", "go_on"] = Field("refuse", description="What silence means.")


class Alerts(Strict):
    """Whom to tell, and how long a night or a source may be silent; what else is told is in docs/events.md."""

    connection: str = Field(
        "evergreen_alerts", description="Airflow connection of type http (Slack, Teams …) or smtp; without it, the log."
    )
    late_hours: float = Field(6, gt=0, description="Hours after its tick at which a night without a result is late.")
    silent_days: Days = Field(3, description="Scheduled days without published data that are told of.")
