"""
### Ingest

Takes a day's delivery in, cleans it with Spark, checks it with Great Expectations and publishes it: one partition a
night by itself, or any range by hand. Bad rows go to quarantine with the rule they broke and where they stood in the
delivery; a partition that fails its expectations is refused, and the table stays as it was. Where labels come later
than their events (`source.labels.delay_days`), a night also takes in again the past days whose labels have arrived.

**On failure**

- `land`: the delivery is missing or unreadable, or its source did not answer while the night waited for it; the message
  names the file, table or URL. Deliver it, or mend the source, then clear the task.
- `refuse`: the message names the partitions and expectations; the report is linked from `validate`. Deliver the day
  again and start this DAG by hand for that day.
- Anything else: safe to clear, nothing is published twice.
"""

from typing import Any

from airflow.sdk import CronPartitionTimetable, Param, dag, task
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException
from evergreen.defaults import dag_defaults
from evergreen.operators.land import LandDeliveryOperator

from include.assets import assets_of
from include.config import load_pipelines
from include.partition import run_key_of
from include.pipeline import Pipeline


def ingest_dag(pipeline: Pipeline) -> None:
    """Declare the ingesting DAG of one pipeline."""
    features = assets_of(pipeline.name).features
    start = pipeline.schedule.start.isoformat()

    @dag(
        **dag_defaults(pipeline, "ingest"),
        doc_md=__doc__,
        schedule=CronPartitionTimetable(pipeline.schedule.cron, timezone="UTC", run_offset=-1, key_format="%Y-%m-%d"),
        start_date=pipeline.schedule.first_run,
        end_date=pipeline.schedule.last_run,
        catchup=True,
        max_active_runs=16,
        params={
            "first": Param(
                start, type="string", format="date", description="First day to ingest, when started by hand."
            ),
            "last": Param(start, type="string", format="date", description="Last day to ingest, included."),
        },
    )
    def ingest() -> None:
        landed = LandDeliveryOperator(
            task_id="land", pipeline_name=pipeline.name, first="{{ params.first }}", last="{{ params.last }}"
        )

        @task
        def clean(landed_uri: str, run_id: str | None = None) -> str:
            from include.cleaning import job

            return job.clean(pipeline, landed_uri, run_key_of(str(run_id)))

        @task
        def validate(staged_uri: str, run_id: str | None = None) -> dict[str, Any]:
            from include import validation

            return validation.validate(pipeline, staged_uri, run_key_of(str(run_id)))

        @task(outlets=[features])
        def publish(staged_uri: str, verdict: dict[str, Any], run_id: str | None = None, *, outlet_events: Any) -> None:
            from include import publication

            if not (publication_id := publication.publish(pipeline, staged_uri, verdict, run_key_of(str(run_id)))):
                raise AirflowSkipException("No partition passed; the table stays as it was.")
            outlet_events[features].add_partitions([publication_id])

        @task(trigger_rule="none_failed")
        def refuse(verdict: dict[str, Any]) -> None:
            if verdict["refused"]:
                raise AirflowFailException("\n".join(f"{day}: {why}" for day, why in verdict["refused"].items()))

        staged = clean(landed.output)
        verdict = validate(staged)
        publish(staged, verdict) >> refuse(verdict)

    ingest()


for pipeline in load_pipelines():
    ingest_dag(pipeline)
