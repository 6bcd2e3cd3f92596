"""
### Deploy

Puts an approved release behind the endpoint: checks that the artefact is the registered one and reproduces the
predictions written at training time, then swaps versions without a failed request. The release is the champion only
after the endpoint has said that it serves it. While the pipeline is paused nothing is promoted by itself: `promote` is
skipped, the release waits, and `sweep` wakes it after `evergreen resume`. Started by hand, this DAG deploys even then.

**On failure**: the champion stays (or is put back). Safe to clear. A release that was compared with a champion since
replaced is refused: start a training, so that it is compared with the new one.
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
    assets = assets_of(pipeline.name)

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
            from include import deployment, verification

            release_id = dag_run.partition_key or deployment.approved_release(pipeline.name, params["version"])
            verification.verify(release_id)
            return release_id

        @task(outlets=[assets.endpoint])
        def promote(release_id: str, dag_run: Any = None, *, outlet_events: Any) -> None:
            from include import deployment

            if held := deployment.promote(release_id, by_itself=bool(dag_run.partition_key)):
                raise AirflowSkipException(held)
            outlet_events[assets.endpoint].add_partitions([release_id])

        promote(verify())

    deploy()


for pipeline in load_pipelines():
    deploy_dag(pipeline)
