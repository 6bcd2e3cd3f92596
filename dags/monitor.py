"""
### Monitor

Looks at days that were just published: joins what the endpoint predicted with what really happened, measures drift and
quality, keeps Evidently's pages of both, and lets the governor decide whether a new model is worth asking for. Days
nobody asked predictions for are history and never ask for one.

**On failure**: safe to clear; what was measured is overwritten with the same, a request is filed once.
"""

from typing import Any

from airflow.sdk import Param, PartitionedAssetTimetable, dag, task
from airflow.sdk.exceptions import AirflowSkipException
from evergreen.defaults import dag_defaults

from include.assets import assets_of
from include.config import load_pipelines
from include.partition import days_between, run_key_of
from include.pipeline import Pipeline


def monitor_dag(pipeline: Pipeline) -> None:
    """Declare the monitoring DAG of one pipeline."""
    assets = assets_of(pipeline.name)
    start = pipeline.schedule.start.isoformat()

    @dag(
        **dag_defaults(pipeline, "monitor"),
        doc_md=__doc__,
        schedule=PartitionedAssetTimetable(assets=assets.features),
        is_paused_upon_creation=False,
        params={
            "first": Param(
                start, type="string", format="date", description="First day to measure, when started by hand."
            ),
            "last": Param(start, type="string", format="date", description="Last day to measure, included."),
        },
    )
    def monitor() -> None:
        @task
        def find_publication(params: Any = None, dag_run: Any = None) -> str:
            from include import publication

            days = days_between(*(pipeline.schedule.start.fromisoformat(params[end]) for end in ("first", "last")))
            return dag_run.partition_key or publication.announce_again(pipeline, days, run_key_of(dag_run.run_id))

        @task
        def collect(publication_id: str) -> str:
            from include.monitoring import windows

            return windows.collect(pipeline, publication_id)

        @task
        def measure(windows_uri: str) -> None:
            from include.monitoring import measuring

            measuring.measure(pipeline, windows_uri)

        @task(outlets=[assets.retrain])
        def decide(publication_id: str, *, outlet_events: Any) -> None:
            from include.monitoring import deciding

            decision = deciding.decide(pipeline, publication_id)
            if not decision.request_id:
                raise AirflowSkipException(decision.reason)
            outlet_events[assets.retrain].add_partitions([decision.request_id])

        publication_id = find_publication()
        measure(collect(publication_id)) >> decide(publication_id)

    monitor()


for pipeline in load_pipelines():
    monitor_dag(pipeline)
