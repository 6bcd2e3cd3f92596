"""This file runs trainings as processes of their own on this machine, which another process can find again.

The worker that started one may die: the training goes on, and whoever asks for the same spec again follows it.
"""

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
from filelock import FileLock

from include import atomic
from include.errors import ConfigError, TrainingFailedError
from include.finding import Finding
from include.platforms.base import Job, Leased, Order, Outline, Platform, State, Status
from include.platforms.local_plan import check_machine, outline_of
from include.settings import ROOT, load_settings
from include.training.finished import is_finished
from include.training.outcome import BAD_INPUT, RESUME, read_outcome
from include.training.spec import Spec, read_spec

POLL_SECONDS = 0.2
MARK = "EVERGREEN_JOB"  # in the environment of every job, and of all it starts
STATES: dict[int, State] = {BAD_INPUT: "refused", RESUME: "interrupted"}


class Local(Platform):
    """This machine. A job is known by its process id and the time it was started; it costs what its devices cost."""

    name = "local"
    is_remote = False

    def submit(self, order: Order) -> Job:
        """Start the job; one of the same spec that is running already, or has this name, is returned."""
        spec = order.spec
        spec.work.mkdir(parents=True, exist_ok=True)
        with FileLock(spec.work / "submit.lock"):  # two that ask at once are given one job
            return self._submit(order, spec)

    def _submit(self, order: Order, spec: Spec) -> Job:
        if (found := find(spec)) and (found.name == order.name or _process(found)):
            return found
        if (job := self._noted(Job(order.name))).detail:  # who started it was killed before that was noted
            return job
        (spec.work / "outcome").unlink(missing_ok=True)
        path = spec.work / "spec.json"
        atomic.write_text(path, spec.model_dump_json(indent=2))
        detail = {"spec": str(path), "pipeline": spec.pipeline, "lease_until": order.lease_until.isoformat()}
        mark = json.dumps({"name": order.name, "data": str(load_settings().data), **detail})
        process = _start(path, spec, mark)
        job = Job(order.name, detail | {"pid": process.pid, "started": psutil.Process(process.pid).create_time()})
        atomic.write_text(spec.work / "job.json", json.dumps(asdict(job)))
        return job

    def status(self, job: Job) -> Status:
        """Return what the process does, or by what it left how it ended."""
        if "spec" not in (job := self._noted(job)).detail:
            return Status("gone")
        seconds = time.time() - job.detail["started"]
        if _process(job):
            return Status("running", seconds=seconds)
        try:
            spec = read_spec(job.detail["spec"])
        except ConfigError:
            return Status("gone")
        if is_finished(spec):
            return Status("succeeded", seconds=_seconds(job, spec))
        code = read_outcome(spec.work / "outcome")
        reason = _last_line(spec.work / "log") or f"ended with exit code {code}"
        return Status(STATES.get(code, "failed"), reason, _seconds(job, spec))

    def follow(self, job: Job) -> Iterator[str]:
        """Yield what the process writes until it has ended; one that outlives its lease is stopped."""
        path = Path(job.detail["spec"]).with_name("log")
        with path.open("a+", encoding="utf-8", errors="replace") as output:
            output.seek(0)
            rest = ""
            while True:
                is_running = _process(job) is not None  # before reading: what is written at the very end is read, too
                *lines, rest = (rest + output.read()).split("\n")
                yield from lines
                if not is_running:
                    break
                if datetime.now(UTC) >= _lease(job):
                    self.stop(job)
                    output.write(f"Stopped: it took longer than its lease, until {_lease(job):%Y-%m-%d %H:%M} UTC\n")
                    output.flush()
                time.sleep(POLL_SECONDS)
        if rest:
            yield rest

    def where(self, job: Job) -> str:
        """Return how its log is read."""
        return f"tail -f {Path(job.detail['spec']).with_name('log')}"

    def stop(self, job: Job) -> None:
        """Kill the process and all it has started; one whose process id was never noted is found by its mark."""
        job = self._noted(job)
        with suppress(psutil.Error):
            if process := _process(job):
                family = [process, *process.children(recursive=True)]
                for each in family:
                    with suppress(psutil.NoSuchProcess):
                        each.kill()
                psutil.wait_procs(family, timeout=10)

    def collect(self, job: Job, spec: Spec) -> None:  # noqa: ARG002 - the interface
        """Make sure that the model lies where it was trained.

        :raises TrainingFailedError: if it does not.
        """
        if not is_finished(spec):
            raise TrainingFailedError(f"{spec.folder}: the training says that it has ended well, and left no model.")

    def leased(self) -> list[Leased]:
        """Return the processes of this machine that carry the mark of this installation."""
        found, data = [], str(load_settings().data)
        for process in psutil.process_iter():
            with suppress(psutil.Error, OSError, ValueError, KeyError):
                mark = json.loads(process.environ()[MARK])
                is_leader = os.getsid(process.pid) == process.pid  # not what a job has started itself
                if is_leader and mark.pop("data") == data and process.status() != psutil.STATUS_ZOMBIE:
                    job = Job(mark.pop("name"), mark | {"pid": process.pid, "started": process.create_time()})
                    found.append(Leased(job, mark["pipeline"], _lease(job)))
        return found

    def _noted(self, job: Job) -> Job:
        """Return a job as it was noted; one that never was, as its mark shows it while it runs."""
        if job.detail:
            return job
        return next((each.job for each in self.leased() if each.job.name == job.name), job)

    def clean_up(self, job: Job) -> None:
        """Remove nothing: the log stays beside the model, and goes with it."""

    def describe(self, order: Order) -> Outline:
        """Return what the training is here.

        :raises PlatformRefusedError: if it wants several machines.
        """
        return outline_of(order)

    def check(self, order: Order) -> Iterator[Finding]:
        """Yield whether this machine has what the training needs."""
        yield from check_machine(order)


def find(spec: Spec) -> Job | None:
    """Return the newest job of a spec, running or not; none if there was none."""
    with suppress(OSError, ValueError, TypeError):
        return Job(**json.loads((spec.work / "job.json").read_text()))
    return None


def _start(path: Path, spec: Spec, mark: str) -> subprocess.Popen[bytes]:
    with (spec.work / "log").open("wb") as output:
        return subprocess.Popen(  # noqa: S603 - our own module
            [sys.executable, "-u", "-m", "include.training", str(path)],
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": str(ROOT), MARK: mark},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=lambda: _limit(spec.accelerator.memory_gb),  # noqa: PLW1509 - one system call, no locks
        )


def _process(job: Job) -> psutil.Process | None:
    """Return the very process, if it lives: numbers are given again, times of start are not."""
    detail: dict[str, Any] = job.detail
    with suppress(psutil.Error, KeyError):
        process = psutil.Process(detail["pid"])
        if process.create_time() == detail["started"] and process.status() != psutil.STATUS_ZOMBIE:
            return process
    return None


def _lease(job: Job) -> datetime:
    return datetime.fromisoformat(job.detail["lease_until"])


def _seconds(job: Job, spec: Spec) -> float:
    """Return how long an ended job ran: until it last wrote something."""
    written = [path.stat().st_mtime for path in (spec.work / "outcome", spec.work / "log") if path.exists()]
    return float(max(0.0, max(written, default=0.0) - job.detail["started"]))


def _last_line(path: Path) -> str:
    with suppress(OSError):
        lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
        return next((line for line in reversed(lines) if line.strip()), "")
    return ""


def _limit(memory_gb: float | None) -> None:
    if memory_gb is not None:
        most = int(memory_gb * 1e9)
        resource.setrlimit(resource.RLIMIT_DATA, (most, most))
