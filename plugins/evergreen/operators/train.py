"""This file trains a model as a job on the pipeline's platform: it outlives a worker's crash, and a kill stops it."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowSkipException, TaskDeferralTimeout

from evergreen.triggers.job import JobTrigger
from include.config import load_pipeline

POKE_SECONDS = 30.0
GRACE = timedelta(minutes=30)  # after the lease, for a job that was told to end then


class TrainModelOperator(BaseOperator):
    """Run `python -m include.training` for a claimed request on the pipeline's platform; its output is the task's log.

    A try after a worker's crash finds the running job again and follows it; one after the job's own end goes on from
    its newest checkpoint. The ledger knows which job that is: there are never two of them. While a job runs on other
    machines the task waits deferred, without a worker; its output is printed when it has ended.

    :param pipeline_name: the pipeline to train for.
    :param request_id: the claimed request (templated).
    """

    template_fields: Sequence[str] = ("request_id",)

    def __init__(self, *, pipeline_name: str, request_id: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.pipeline_name = pipeline_name
        self.request_id = request_id
        self._ordered: Any = None

    def execute(self, context: Any) -> None:  # noqa: ARG002 - Airflow's signature
        """Start or find the training and see it to its end; skip one that has not started where a pause has come.

        :raises BudgetError: if it could cost more than the pipeline may spend; nothing is started then.
        :raises BadTrainingInputError: if these data or settings cannot be trained with.
        :raises TrainingInterruptedError: if it was asked to end; the next try goes on.
        :raises TrainingFailedError: if it ended without a model otherwise.
        """
        from include import retraining
        from include.platforms.ordering import is_under_way, order

        if not is_under_way(self.request_id) and (why := retraining.hold_back(self.request_id)):
            raise AirflowSkipException(why)
        self._ordered = order(load_pipeline(self.pipeline_name), self.request_id)
        self._ordered.submit()
        self._wait_or_finish()

    def resume(self, context: Any, event: str | None = None) -> None:  # noqa: ARG002 - Airflow's signature
        """Go on when the job has ended; wait again for one that only could not be seen for a while."""
        self._find_again()
        self._wait_or_finish()

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Any) -> Any:
        """Go on; where Airflow has waited until after the lease, no triggerer has looked: it is done here."""
        from include.platforms.watching import look

        try:
            return super().resume_execution(next_method, next_kwargs, context)
        except TaskDeferralTimeout:
            self._find_again()
            look(self._ordered.attempt.name)
            self._finish()

    def on_kill(self) -> None:
        """Stop the job, wherever it runs."""
        if self._ordered:
            self._ordered.stop("the task was killed")

    def _find_again(self) -> None:
        from include.platforms.ordering import ordered_last

        self._ordered = ordered_last(load_pipeline(self.pipeline_name), self.request_id)

    def _wait_or_finish(self) -> None:
        if self._ordered.may_be_left():
            attempt = self._ordered.attempt
            left = max(attempt.lease_until - datetime.now(UTC), timedelta())
            self.defer(trigger=JobTrigger(attempt.name, POKE_SECONDS), method_name="resume", timeout=left + GRACE)
        self._finish()

    def _finish(self) -> None:
        for line in self._ordered.follow():
            self.log.info("%s", line)
        self._ordered.settle()
