"""This file trains a model in a process of its own, and takes that process down with the task."""

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowSkipException

from include.config import load_pipeline
from include.errors import BadTrainingInputError, TrainingFailedError
from include.process import die_with_parent
from include.settings import ROOT

BAD_INPUT = 65  # what include.training ends with where another try would end the same


class TrainModelOperator(BaseOperator):
    """Run `python -m include.training` for a claimed request; its output is this task's log.

    :param pipeline_name: the pipeline to train for.
    :param request_id: the claimed request (templated).
    """

    template_fields: Sequence[str] = ("request_id",)

    def __init__(self, *, pipeline_name: str, request_id: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.pipeline_name = pipeline_name
        self.request_id = request_id
        self._process: subprocess.Popen[str] | None = None

    def execute(self, context: Any) -> None:  # noqa: ARG002 - Airflow's signature
        """Plan the training, start it, follow its output until it ends; skip it where a pause has come meanwhile."""
        from include import retraining
        from include.training.plan import plan

        if why := retraining.hold_back(self.request_id):
            raise AirflowSkipException(why)
        spec = plan(load_pipeline(self.pipeline_name), self.request_id)
        self._process = subprocess.Popen(  # noqa: S603 - our own module
            [sys.executable, "-u", "-m", "include.training", spec],
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            preexec_fn=die_with_parent,  # noqa: PLW1509 - one prctl call, no locks
        )
        lines = []
        for line in self._process.stdout or []:
            lines.append(line.rstrip())
            self.log.info("%s", lines[-1])
        code = self._process.wait()
        if code == BAD_INPUT:
            raise BadTrainingInputError(f"Training for {self.request_id} refused its input: {lines[-1:]}.")
        if code:
            raise TrainingFailedError(f"Training for {self.request_id} ended with exit code {code}: {lines[-1:]}.")

    def on_kill(self) -> None:
        """Kill the training process and all it has started."""
        if self._process and self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
