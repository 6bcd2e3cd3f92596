"""
### Score

Answers every row of a range of published days with the champion, or another version, as the endpoint would: the same
ONNX graph, through Spark. One Parquet file a day, `scores/version=N/day=D` in the lake. Started by hand.

**On failure**: safe to clear; a day's answers are the old ones or the new ones, whole. The message says which versions
and days there are.
"""

from typing import Any

from airflow.sdk import Param, dag, task
from evergreen.defaults import dag_defaults

from include.config import load_pipelines
from include.pipeline import Pipeline


def score_dag(pipeline: Pipeline) -> None:
    """Declare the DAG that scores days of one pipeline."""

    @dag(
        **dag_defaults(pipeline, "score"),
        doc_md=__doc__,
        schedule=None,
        is_paused_upon_creation=False,
        params={
            "first": Param(type="string", format="date", description="First day to score."),
            "last": Param(type="string", format="date", description="Last day to score, included."),
            "version": Param(
                None, type=["null", "integer"], minimum=1, description="Version that answers; empty: the champion."
            ),
        },
    )
    def score() -> None:
        @task(task_id="score")
        def score_days(params: Any = None) -> str:
            from include.scoring import job

            return job.score(pipeline, params["first"], params["last"], params["version"]).folder

        score_days()

    score()


for pipeline in load_pipelines():
    score_dag(pipeline)
