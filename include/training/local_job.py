"""This file runs a training as processes of its own on this machine, which another process can find again.

The worker that started it may die: the training goes on, and whoever asks for the same spec again follows it.
"""

import json
import logging
import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from include import atomic
from include.errors import TrainingFailedError
from include.process import die_with_parent
from include.settings import ROOT
from include.training.spec import Spec

log = logging.getLogger(__name__)

POLL_SECONDS = 0.2


@dataclass(frozen=True)
class Job:
    """One run of a training's entry point, known by process id and the time it was started."""

    spec: str  # path
    pid: int
    started: float

    def is_running(self) -> bool:
        """Tell whether that very process lives: numbers are given again, times of start are not."""
        with suppress(psutil.Error):
            process = psutil.Process(self.pid)
            return process.create_time() == self.started and process.status() != psutil.STATUS_ZOMBIE
        return False

    def kill(self) -> None:
        """Kill it and all it has started."""
        with suppress(psutil.Error):
            if self.is_running():
                process = psutil.Process(self.pid)
                family = [process, *process.children(recursive=True)]
                for each in family:
                    with suppress(psutil.NoSuchProcess):
                        each.kill()
                psutil.wait_procs(family, timeout=10)


def start(spec_path: str, spec: Spec) -> Job:
    """Return the job of a spec that is running already, or start it; its output goes to a file beside the model.

    :param spec_path: where the spec lies.
    """
    if (job := find(spec)) and job.is_running():
        return job
    (spec.work / "outcome").unlink(missing_ok=True)
    spec.work.mkdir(parents=True, exist_ok=True)
    with (spec.work / "log").open("wb") as output:
        process = subprocess.Popen(  # noqa: S603 - our own module
            [sys.executable, "-u", "-m", "include.training", spec_path],
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=lambda: _limit(spec.accelerator.memory_gb),  # noqa: PLW1509 - one system call, no locks
        )
    job = Job(spec_path, process.pid, psutil.Process(process.pid).create_time())
    atomic.write_text(spec.work / "job.json", json.dumps(asdict(job)))
    return job


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


def find(spec: Spec) -> Job | None:
    """Return the newest job of a spec, running or not; none if there was none."""
    with suppress(OSError, ValueError, TypeError):
        return Job(**json.loads((spec.work / "job.json").read_text()))
    return None


def follow(job: Job, spec: Spec) -> Iterator[str]:
    """Yield a job's output line by line until it has ended."""
    path: Path = spec.work / "log"
    with path.open(encoding="utf-8", errors="replace") as output:
        rest = ""
        while True:
            is_running = job.is_running()  # before reading: what is written at the very end is read, too
            *lines, rest = (rest + output.read()).split("\n")
            yield from lines
            if not is_running:
                break
            time.sleep(POLL_SECONDS)
    if rest:
        yield rest


def _limit(memory_gb: float | None) -> None:
    if memory_gb is not None:
        most = int(memory_gb * 1e9)
        resource.setrlimit(resource.RLIMIT_DATA, (most, most))
