"""
### Sweep

The clock behind the events, for all pipelines: wakes the stage again for every ledger row that nobody took up, makes
the endpoint's declared state and the MLflow alias agree with the ledger, stops trainings that have outlived their
lease, tells people what they should hear of, and once a day removes what is older than the pipeline's `retention` keeps
it.

**On failure**: safe to clear; every task does only what is still to be done.
"""

from typing import Any

from airflow.sdk import CronTriggerTimetable, Param, dag, task
from airflow.sdk.exceptions import AirflowSkipException
from evergreen.defaults import task_defaults

from include.assets import Assets, assets_of
from include.config import load_pipelines

PIPELINES = load_pipelines()


def wake(stage: str, thing: str) -> None:
    """Declare the task that wakes a stage for what it should have taken up."""
    outlets = {pipeline.name: assets_of(pipeline.name)[Assets._fields.index(thing)] for pipeline in PIPELINES}

    @task(task_id=f"wake_{stage}", outlets=list(outlets.values()))
    def emit(params: Any = None, *, outlet_events: Any) -> None:
        from include import sweeping

        if not (late := sweeping.late_rows(stage, list(outlets), params["patience_seconds"])):
            raise AirflowSkipException(f"Nothing waits for {stage}.")
        for name, keys in late.items():
            outlet_events[outlets[name]].add_partitions(keys)

    emit()


@dag(
    dag_id="sweep",
    description="Finishes what a lost event, a crash or a restart has left behind.",
    schedule=CronTriggerTimetable("*/10 * * * *", timezone="UTC"),
    catchup=False,
    max_active_runs=1,
    is_paused_upon_creation=False,
    default_args=task_defaults("evergreen"),
    doc_md=__doc__,
    tags=["stage:sweep"],
    params={
        "patience_seconds": Param(
            300, type="integer", minimum=0, description="Age at which a row nobody took up is late."
        ),
        "claim_hours": Param(24, type="number", minimum=1, description="Hours after which a training is given up."),
        "log_days": Param(30, type="integer", minimum=1, description="Days that Airflow's task logs are kept."),
    },
)
def sweep() -> None:
    """Declare the sweeping DAG."""

    @task
    def reconcile(params: Any = None) -> None:
        from include import sweeping

        sweeping.reconcile([pipeline.name for pipeline in PIPELINES], params["claim_hours"])

    @task
    def expire(params: Any = None) -> dict[str, Any]:
        from include import sweeping

        return sweeping.expire([pipeline.name for pipeline in PIPELINES], params["log_days"])

    @task
    def tell() -> list[str]:
        from evergreen import alerts

        return alerts.tell(PIPELINES)

    @task
    def stop_overdue_jobs() -> list[str]:
        from include import sweeping

        return sweeping.stop_overdue_jobs(sorted({pipeline.platform for pipeline in PIPELINES}))

    wake("monitor", "features")
    wake("train", "retrain")
    wake("deploy", "model")
    reconcile()
    expire()
    stop_overdue_jobs()
    tell()


sweep()
