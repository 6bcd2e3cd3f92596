"""This file runs one trial of a search for hyper-parameters as a process of its own."""

import logging
import os
import subprocess
import sys
from pathlib import Path

from include.errors import TrainingFailedError
from include.process import die_with_parent
from include.settings import ROOT

log = logging.getLogger(__name__)


def run_trial(spec_path: Path, number: int) -> None:
    """Run a trial of a search for hyper-parameters and repeat its output in the log.

    :raises TrainingFailedError: if it ends with an error.
    """
    process = subprocess.Popen(  # noqa: S603 - our own module
        [sys.executable, "-u", "-m", "include.training.tuning", str(spec_path), str(number)],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        preexec_fn=die_with_parent,  # noqa: PLW1509 - one prctl call, no locks
    )
    last = ""
    for line in process.stdout or ():
        last = line.rstrip() or last
        log.info("%s", line.rstrip())
    if code := process.wait():
        raise TrainingFailedError(f"Trial {number} of {spec_path.parent.name} ended with exit code {code}: {last}")
