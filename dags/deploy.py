"""
### Deploy

Puts an approved release behind the endpoint, in three steps.

- `verify` serves it to nobody, in a process of its own: it has to be the registered artefact, reproduce the predictions
  written at training time, be quick enough; and it answers again what the endpoint was asked lately.
- `try_out` lets it answer a share of the requests, step by step as `rollout` in the YAML says. What it cannot answer
  the champion does. A step that goes wrong sends it back.
- `promote` makes it the champion, once every process of the endpoint has said that it serves it.

While the pipeline is paused nothing goes on by itself: the release waits, and `sweep` wakes it after
`evergreen resume`. Started by hand, this DAG deploys even then.

**On failure**: the champion stays (or is put back). Safe to clear: a rollout goes on where it was. A release that was
compared with a champion since replaced is refused: start a training, so that it is compared with the new one.
"""

from typing import Any

from airflow.sdk import Param, PartitionedAssetTimetable, dag, task
from airflow.sdk.exceptions import AirflowSkipException
from evergreen.defaults import dag_defaults

from include.assets import assets_of
from include.config import load_pipelines
from include.pipeline import Pipeline


def deploy_dag(pipeline: Pipeline) -> None:
    """Declare the deploying DAG of one pipeline."""
    assets, policy = assets_of(pipeline.name), pipeline.rollout

    @dag(
        **dag_defaults(pipeline, "deploy"),
        doc_md=__doc__,
        schedule=PartitionedAssetTimetable(assets=assets.model),
        is_paused_upon_creation=False,
        max_active_runs=1,
        params={
            "version": Param(
                None,
                type=["null", "integer"],
                minimum=1,
                description="Version to deploy; empty: the newest approved one.",
            ),
        },
    )
    def deploy() -> None:
        @task
        def verify(params: Any = None, dag_run: Any = None) -> str:
            from include import promotion, verification

            release_id = dag_run.partition_key or promotion.approved_release(pipeline.name, params["version"])
            verification.verify(release_id)
            return release_id

        @task.sensor(poke_interval=policy.seconds_between_looks, timeout=policy.most_seconds, mode="reschedule")
        def try_out(release_id: str, dag_run: Any = None) -> bool:
            from include import rollout

            progress = rollout.advance(release_id, by_itself=bool(dag_run.partition_key))
            if progress.held:
                raise AirflowSkipException(progress.held)
            return progress.is_over

        @task(outlets=[assets.endpoint])
        def promote(release_id: str, dag_run: Any = None, *, outlet_events: Any) -> None:
            from include import promotion

            if held := promotion.promote(release_id, by_itself=bool(dag_run.partition_key)):
                raise AirflowSkipException(held)
            outlet_events[assets.endpoint].add_partitions([release_id])

        release_id = verify()
        try_out(release_id) >> promote(release_id)

    deploy()


for pipeline in load_pipelines():
    deploy_dag(pipeline)
