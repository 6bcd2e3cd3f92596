"""This file trains a model in processes of its own: they outlive a worker's crash, and die with the task's kill."""

from collections.abc import Sequence
from typing import Any

from airflow.sdk import BaseOperator, ResumableJobMixin
from airflow.sdk.exceptions import AirflowSkipException

from include.config import load_pipeline
from include.errors import BadTrainingInputError, TrainingFailedError, TrainingInterruptedError


class TrainModelOperator(ResumableJobMixin, BaseOperator):
    """Run `python -m include.training` for a claimed request; its output is this task's log.

    A try after a worker's crash finds the running job again and follows it; one after the job's own end goes on from
    its newest checkpoint.

    :param pipeline_name: the pipeline to train for.
    :param request_id: the claimed request (templated).
    """

    template_fields: Sequence[str] = ("request_id",)
    external_id_key = "training_job"

    def __init__(self, *, pipeline_name: str, request_id: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.pipeline_name = pipeline_name
        self.request_id = request_id
        self._job: Any = None

    def execute(self, context: Any) -> None:
        """Start or find the training and follow its output until it ends; skip it where a pause has come meanwhile."""
        from include import retraining

        if why := retraining.hold_back(self.request_id):
            raise AirflowSkipException(why)
        self.execute_resumable(context)

    def submit_job(self, context: Any) -> dict[str, Any]:  # noqa: ARG002 - Airflow's signature
        """Plan the training and start it; one of the same plan that is running already is returned."""
        from include.training import local_job
        from include.training.plan import plan
        from include.training.spec import read_spec

        path = plan(load_pipeline(self.pipeline_name), self.request_id)
        self._job = local_job.start(path, read_spec(path))
        return vars(self._job)

    def get_job_status(self, external_id: Any, context: Any) -> str:  # noqa: ARG002
        """Return whether the job runs, has made its model, or neither."""
        from include.training.local_job import Job
        from include.training.spec import read_spec
        from include.training.store import is_finished

        job = Job(**external_id)
        if job.is_running():
            return "running"
        return "succeeded" if is_finished(read_spec(job.spec)) else "ended"

    def is_job_active(self, status: str) -> bool:
        """Tell whether it can be followed."""
        return status == "running"

    def is_job_succeeded(self, status: str) -> bool:
        """Tell whether there is a model."""
        return status == "succeeded"

    def poll_until_complete(self, external_id: Any, context: Any) -> None:  # noqa: ARG002
        """Repeat the job's output in this task's log until it ends.

        :raises BadTrainingInputError: if these data or settings cannot be trained with.
        :raises TrainingInterruptedError: if it was asked to end; the next try goes on.
        :raises TrainingFailedError: if it ended without a model otherwise.
        """
        from include.training import local_job, outcome
        from include.training.spec import read_spec

        self._job = local_job.Job(**external_id)
        spec, last = read_spec(self._job.spec), ""
        for line in local_job.follow(self._job, spec):
            self.log.info("%s", line)
            last = line or last
        code = outcome.read_outcome(spec.work / "outcome")
        if code == outcome.BAD_INPUT:
            raise BadTrainingInputError(f"Training for {self.request_id} refused its input: {last}.")
        if code == outcome.RESUME:
            raise TrainingInterruptedError(f"Training for {self.request_id} was asked to end: {last}")
        if code:
            raise TrainingFailedError(f"Training for {self.request_id} ended with exit code {code}: {last}.")

    def get_job_result(self, external_id: Any, context: Any) -> None:
        """Return nothing: the model lies in its folder."""

    def on_kill(self) -> None:
        """Kill the training and all it has started."""
        if self._job:
            self._job.kill()
