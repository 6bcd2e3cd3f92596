"""
### Train

Claims one retrain request, trains a challenger as a job on the pipeline's platform, lets the gate compare it with the
champion on days neither has learned from, and registers it. Started by a request of the governor or of a message, or
by hand (here, or by REST): that files a request of its own. Where the YAML wants a person's word (`people`), the run
waits for it under "Required Actions".

**On failure**: clear the run; it claims its request again. A challenger that loses is registered as rejected:
that is a result, not a failure.
"""

from datetime import timedelta
from typing import Any

from airflow.sdk import PartitionedAssetTimetable, TriggerRule, dag, task
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException
from evergreen.defaults import dag_defaults
from evergreen.forms import training_form
from evergreen.operators.ask import ask_person
from evergreen.operators.train import TrainModelOperator
from evergreen.operators.tune import search_settings

from include.assets import assets_of
from include.config import load_pipelines
from include.partition import run_key_of
from include.pipeline import Pipeline


def train_dag(pipeline: Pipeline) -> None:
    """Declare the training DAG of one pipeline."""
    assets = assets_of(pipeline.name)

    @dag(
        **dag_defaults(pipeline, "train"),
        doc_md=__doc__,
        schedule=PartitionedAssetTimetable(assets=assets.retrain),
        is_paused_upon_creation=False,
        params=training_form(pipeline),
    )
    def train() -> None:
        @task
        def claim_request(params: Any = None, dag_run: Any = None) -> str:
            from include import retraining

            form = {**params, "by": dag_run.triggering_user_name}
            if not (request_id := retraining.claim(pipeline, dag_run.partition_key, run_key_of(dag_run.run_id), form)):
                raise AirflowSkipException(f"{dag_run.partition_key} is another run's, done, or held back by a pause.")
            return request_id

        @task
        def evaluate(request_id: str) -> str:
            from include import gatekeeping

            return gatekeeping.evaluate(pipeline, request_id)

        @task(outlets=[assets.model])
        def register(release_id: str, *, outlet_events: Any) -> None:
            from include import registry

            release = registry.register(release_id)
            if release.status == "rejected":
                raise AirflowSkipException(release.note)
            outlet_events[assets.model].add_partitions([release_id])

        @task(trigger_rule=TriggerRule.ONE_FAILED)
        def give_up(request_id: str) -> None:
            from include import retraining

            retraining.give_up(request_id)
            # The last task speaks for the run: without this a failed training would be a green run.
            raise AirflowFailException(f"No model came of {request_id}: see the failed task before this one.")

        request_id = claim_request()
        wanted = search_settings(pipeline, ask_person(pipeline, "review", request_id))
        trained = TrainModelOperator(
            task_id="train",
            pipeline_name=pipeline.name,
            request_id=wanted,
            pool="training",
            # The job's own time-out comes first, and says why.
            execution_timeout=timedelta(hours=pipeline.compute.max_hours, minutes=30),
        )
        judged = evaluate(wanted)
        wanted >> trained >> judged
        registered = register(ask_person(pipeline, "approval", judged))
        [trained, judged, registered] >> give_up(request_id)

    train()


for pipeline in load_pipelines():
    train_dag(pipeline)
