"""
### Roll back

Puts an earlier champion back behind the endpoint, at once, or ends the trial that is under way. Started by hand.

**On failure**: safe to clear. The message says which versions can be put back.
"""

from typing import Any

from airflow.sdk import Param, dag, task
from evergreen.defaults import dag_defaults

from include.assets import assets_of
from include.config import load_pipelines
from include.pipeline import Pipeline


def rollback_dag(pipeline: Pipeline) -> None:
    """Declare the DAG that rolls one pipeline back."""
    endpoint = assets_of(pipeline.name).endpoint

    @dag(
        **dag_defaults(pipeline, "rollback"),
        doc_md=__doc__,
        schedule=None,
        is_paused_upon_creation=False,
        params={
            "reason": Param(type="string", minLength=3, description="Why; kept with the release."),
            "to_version": Param(
                None,
                type=["null", "integer"],
                minimum=1,
                description="Version to put back; empty: the champion before.",
            ),
        },
    )
    def rollback() -> None:
        @task
        def choose_version(params: Any = None) -> int:
            from include.rollback import version_before

            return version_before(pipeline.name, params["to_version"])

        @task(outlets=[endpoint])
        def roll_back(version: int, params: Any = None, *, outlet_events: Any) -> None:
            from include import rollback as back

            release_id = back.roll_back(pipeline.name, params["reason"], version)
            outlet_events[endpoint].add_partitions([release_id])

        roll_back(choose_version())

    rollback()


for pipeline in load_pipelines():
    rollback_dag(pipeline)
