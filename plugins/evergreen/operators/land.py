"""This file takes deliveries in: at once for a range by hand, waiting for it in a scheduled night."""

from collections.abc import Sequence
from datetime import date, timedelta
from typing import Any

from airflow.sdk import BaseOperator

from evergreen.connections import connection_urls
from evergreen.triggers.delivery import DeliveryTrigger
from include.config import load_pipeline
from include.partition import days_between, run_key_of

REMOTE_POKE_SECONDS = 30.0


class LandDeliveryOperator(BaseOperator):
    """Copy a run's deliveries into the lake as they came, and return where their list lies.

    A scheduled night waits, deferred, until its delivery is there, and takes along what labels of past days have come
    since; a range by hand fails at once if a day is missing.

    :param pipeline_name: the pipeline to ingest for.
    :param first: first day of a range by hand (templated).
    :param last: last day of a range by hand (templated).
    """

    template_fields: Sequence[str] = ("first", "last")

    def __init__(self, *, pipeline_name: str, first: str, last: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.pipeline_name = pipeline_name
        self.first = first
        self.last = last

    def execute(self, context: Any) -> str:
        """Land the days of this run, or wait for the night's."""
        from include.ingestion.delivery import is_delivered

        pipeline = load_pipeline(self.pipeline_name)
        night = context["dag_run"].partition_key
        if night and not is_delivered(pipeline, night, connection_urls(pipeline)):
            self.log.info(
                "The delivery of %s is not here yet; waiting at most %s h", night, pipeline.schedule.wait_hours
            )
            self.defer(
                trigger=DeliveryTrigger(
                    self.pipeline_name, night, 1.0 if pipeline.source.is_local else REMOTE_POKE_SECONDS
                ),
                method_name="land",
                timeout=timedelta(hours=pipeline.schedule.wait_hours),
            )
        return self.land(context)

    def land(self, context: Any, event: str | None = None) -> str:  # noqa: ARG002 - Airflow resumes with the event
        """Land what has been delivered."""
        from include.ingestion.delivery import land
        from include.ingestion.late_labels import late_labels

        dag_run, pipeline = context["dag_run"], load_pipeline(self.pipeline_name)
        night, urls = dag_run.partition_key, connection_urls(pipeline)
        days = [night] if night else days_between(_day(self.first), _day(self.last))
        late = late_labels(pipeline, night, urls) if night else {}
        return land(pipeline, days, run_key_of(dag_run.run_id), urls, late)


def _day(value: str | date) -> date:
    return value if isinstance(value, date) else date.fromisoformat(value)
