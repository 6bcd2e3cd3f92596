"""This file takes deliveries in: at once for a range by hand, waiting for it in a scheduled night."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any, NoReturn

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import TaskDeferralTimeout

from evergreen.connections import connection_urls
from evergreen.triggers.delivery import DeliveryTrigger
from include.config import load_pipeline
from include.errors import SourceUnavailableError
from include.partition import days_between, run_key_of
from include.pipeline import Pipeline

LOCAL_POKE_SECONDS = 1.0
REMOTE_POKE_SECONDS = 30.0


class LandDeliveryOperator(BaseOperator):
    """Copy a run's deliveries into the lake as they came, and return where their list lies.

    A scheduled night waits, deferred, until its delivery is there and its source answers, and takes along what labels
    of past days have come since; a range by hand fails at once if a day is missing.

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

        night = context["dag_run"].partition_key
        if not night:
            return self.land(context)
        pipeline = load_pipeline(self.pipeline_name)
        until = datetime.now(UTC) + timedelta(hours=pipeline.schedule.wait_hours)
        try:
            is_here = is_delivered(pipeline, night, connection_urls(pipeline))
        except SourceUnavailableError as error:
            self._wait(pipeline, night, until, error)
        if not is_here:
            self._wait(pipeline, night, until)
        return self.land(context, until=until.isoformat())

    def land(self, context: Any, event: str = "", until: str = "") -> str:  # noqa: ARG002 - Airflow resumes with event
        """Land what has been delivered; until a moment, if one is given, wait for a source that does not answer.

        :raises TaskDeferralTimeout: if it does not answer, and that moment is over.
        """
        from include.ingestion.delivery import land
        from include.ingestion.late_labels import late_labels

        dag_run, pipeline = context["dag_run"], load_pipeline(self.pipeline_name)
        night, urls = dag_run.partition_key, connection_urls(pipeline)
        days = [night] if night else days_between(_day(self.first), _day(self.last))
        late = late_labels(pipeline, night, urls) if night else {}
        try:
            return land(pipeline, days, run_key_of(dag_run.run_id), urls, late)
        except SourceUnavailableError as error:
            if not until:
                raise
            self._wait(pipeline, night, datetime.fromisoformat(until), error)

    def _wait(
        self, pipeline: Pipeline, night: str, until: datetime, error: SourceUnavailableError | None = None
    ) -> NoReturn:
        # The moment goes along: each deferral would else begin its time-out anew.
        left = until - datetime.now(UTC)
        if left <= timedelta():
            raise TaskDeferralTimeout(
                f"Waited {pipeline.schedule.wait_hours} h for the delivery of {night}, whose source does not answer. "
                f"Mend the source or its connection, then clear this task: {error}"
            ) from error
        self.log.info(
            "Waiting for the delivery of %s, at most until %s: %s", night, until, error or "it is not here yet"
        )
        # What is broken is not asked every second, even on this machine.
        is_cheap = pipeline.source.is_local and not error
        self.defer(
            trigger=DeliveryTrigger(self.pipeline_name, night, LOCAL_POKE_SECONDS if is_cheap else REMOTE_POKE_SECONDS),
            method_name="land",
            kwargs={"until": until.isoformat()},
            timeout=left,
        )


def _day(value: str | date) -> date:
    return value if isinstance(value, date) else date.fromisoformat(value)
