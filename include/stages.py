"""This file says what runs each stage of a pipeline, and where: the same on every platform, but for the training's job.

tests/dags/test_stages.py holds it to the DAGs.
"""

from dataclasses import dataclass

from include import people
from include.pipeline import Pipeline
from include.places import shown
from include.settings import Settings

TASK, SENSOR = "@task", "@task.sensor"
LAND, ASK, TRAIN, LISTEN = "LandDeliveryOperator", "AskPersonOperator", "TrainModelOperator", "TakeMessagesOperator"
WORKER = "Airflow's worker"


@dataclass(frozen=True)
class Stage:
    """One DAG of a pipeline, or the endpoint, which is none."""

    name: str
    tasks: dict[str, str]  # task: its operator
    runs_on: str
    reaches: str


def stages_of(pipeline: Pipeline, settings: Settings) -> list[Stage]:
    """Return the stages in the order of the loop."""
    spark = (
        f"Spark {shown(settings.spark_remote)}" if settings.spark_remote else "Spark (of `make up`, else the task's)"
    )
    lake, endpoint = f"lake {shown(settings.lake)}", f"endpoint {shown(settings.endpoint_url)}"
    tracking, platforms = f"MLflow {shown(settings.tracking_url)}", "platforms in use"
    ingest = {"land": LAND} | _tasks("clean validate publish refuse")
    found = [
        Stage(
            "ingest", ingest, f"{WORKER}; clean on {spark}", f"source; {lake}; catalog {shown(settings.catalog_url)}"
        ),
        Stage("monitor", _tasks("find_publication collect measure decide"), WORKER, lake),
        Stage("train", _training(pipeline), f"{WORKER}; what train starts: below", f"{lake}; {tracking}"),
        Stage("deploy", _deploying(), WORKER, f"{endpoint}; {tracking}"),
        Stage("endpoint", {}, "processes of its own: python -m include.serving", f"models {shown(settings.models)}"),
        Stage("score", _tasks("score"), f"{WORKER}; {spark}", lake),
        Stage("rollback", _tasks("choose_version roll_back"), WORKER, f"{endpoint}; {tracking}"),
        Stage("sweep", _sweeping(), WORKER, f"{endpoint}; {lake}; {platforms}"),
    ]
    if pipeline.events:
        queue = f"connection {pipeline.events.connection}"
        found.append(Stage("listen", {"take_messages": LISTEN}, "Airflow's triggerer, then a worker", queue))
    return found


def _tasks(names: str) -> dict[str, str]:
    return dict.fromkeys(names.split(), TASK)


def _training(pipeline: Pipeline) -> dict[str, str]:
    review = {"review": ASK} if people.asks(pipeline, "review") else {}
    search = _tasks("plan_trials run_trial choose_settings") if pipeline.training.tuning else {}
    approve = {"approve": ASK} if people.asks(pipeline, "approval") else {}
    return (
        _tasks("claim_request") | review | search | {"train": TRAIN} | _tasks("evaluate") | approve
        | _tasks("register give_up")
    )  # fmt: skip


def _deploying() -> dict[str, str]:
    return _tasks("verify") | {"try_out": SENSOR} | _tasks("promote")


def _sweeping() -> dict[str, str]:
    return _tasks("reconcile expire tell stop_overdue_jobs wake_monitor wake_train wake_deploy")
