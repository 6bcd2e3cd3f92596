"""This file trains a model as a job on the pipeline's platform: it outlives a worker's crash, and a kill stops it."""

from collections.abc import Sequence
from typing import Any

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowSkipException

from include.config import load_pipeline


class TrainModelOperator(BaseOperator):
    """Run `python -m include.training` for a claimed request on the pipeline's platform; its output is the task's log.

    A try after a worker's crash finds the running job again and follows it; one after the job's own end goes on from
    its newest checkpoint. The ledger knows which job that is: there are never two of them.

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
        """Start or find the training and follow its output until it ends; skip it where a pause has come meanwhile.

        :raises BudgetError: if it could cost more than the pipeline may spend; nothing is started then.
        :raises BadTrainingInputError: if these data or settings cannot be trained with.
        :raises TrainingInterruptedError: if it was asked to end; the next try goes on.
        :raises TrainingFailedError: if it ended without a model otherwise.
        """
        from include import retraining
        from include.platforms.ordering import order

        if why := retraining.hold_back(self.request_id):
            raise AirflowSkipException(why)
        self._ordered = order(load_pipeline(self.pipeline_name), self.request_id)
        self._ordered.submit()
        for line in self._ordered.follow():
            self.log.info("%s", line)
        self._ordered.settle()

    def on_kill(self) -> None:
        """Stop the job, wherever it runs."""
        if self._ordered:
            self._ordered.stop("the task was killed")
