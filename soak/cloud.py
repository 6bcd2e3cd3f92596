"""This file lets tries of `train` die and networks fail around jobs that really run, on each platform's stand-in.

What ran is counted by the platforms' own books, not by the ledger: jobs beside each other or for nothing, models that
never came, and what is left when `sweep` has been there.
"""

import logging
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from rich.console import Console

from include import artefact, sweeping
from include.errors import ArtefactError, PlatformError
from include.ledger import jobs, open_ledger, requests
from include.ledger.tables import now
from include.training.spec import model_folder
from soak.cloud_books import Books
from soak.cloud_installation import installation
from soak.cloud_plan import Crash, Trial, plan
from soak.cloud_worker import PIPELINE
from tests.warm import Warm, WarmProcess

PLATFORMS = ("local", "aws", "kubernetes")
TRY_SECONDS = 180
SIGNALS = {"task": signal.SIGKILL, "killed": signal.SIGTERM, "supervisor": signal.SIGKILL}
# How a try ends that was hit; a supervisor's that ended before it could be left alone was not.
CODES: dict[str, set[int]] = {"task": {-signal.SIGKILL}, "killed": {143, -signal.SIGTERM}, "supervisor": set()}
LATER = timedelta(hours=3)  # by then every lease is over


@dataclass
class Found:
    """What came of all trials on one platform."""

    crashes: Counter[str] = field(default_factory=Counter)
    jobs: int = 0
    models: int = 0
    duplicates: list[str] = field(default_factory=list)
    orphans: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """Return it as it is written down."""
        problems = {"duplicates": self.duplicates, "orphans": self.orphans, "lost": self.lost}
        return {
            "crashes": self.crashes.total(),
            **{name: len(several) for name, several in problems.items()},
            "jobs": self.jobs,
            "models": self.models,
            "by_kind": dict(sorted(self.crashes.items())),
            "findings": problems,
        }


def measure(number: int = 200, seed: int = 1, platforms: tuple[str, ...] = PLATFORMS) -> dict[str, Any]:
    """Return what became of so many crashes on each platform.

    :param number: crashes that hit; some come too late, when their try has ended, and do not count.
    """
    for chatty in ("werkzeug", "botocore", "include.ledger.schema"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    workers, found = Warm("soak.cloud_worker"), {}
    for platform in platforms:
        began = time.monotonic()
        with installation(platform) as books:
            found[platform] = Soak(platform, books, workers).run(number, seed).as_dict()
        found[platform]["minutes"] = round((time.monotonic() - began) / 60, 1)
    return {"seed": seed, **found}


class Soak:
    """Lives through trials on one platform."""

    def __init__(self, platform: str, books: Books, workers: Warm) -> None:
        """Take the platform as its stand-in has it."""
        self._platform, self._books, self._workers = platform, books, workers
        self._found, self._console = Found(), Console()

    def run(self, number: int, seed: int) -> Found:
        """Live through trials until so many crashes have hit; Ctrl-C ends them early."""
        with suppress(KeyboardInterrupt):
            for position, trial in enumerate(plan(self._platform, 3 * number, seed)):
                if self._found.crashes.total() >= number:
                    break
                self._live_through(trial, f"{PIPELINE}.hand.t{position}", position)
                self._console.print(self._platform, position, trial.end, dict(self._found.crashes))
        return self._found

    def _live_through(self, trial: Trial, request_id: str, position: int) -> None:
        dice, alive = random.Random(position), list[WarmProcess]()  # noqa: S311 - no secret
        with open_ledger() as session:
            requests.file_request(session, PIPELINE, reason="soak", triggered_by="hand", key=f"t{position}", detail={})
            requests.claim_request(session, request_id, f"run-{position}")
        is_done = False
        for crash in trial.crashes:
            is_done = self._try(request_id, crash, dice, alive)
            if is_done:
                break
        if not is_done and trial.end == "overdue":
            self._kill(alive)
            self._sweep(LATER)
        if not is_done and trial.end == "given up":
            self._kill(alive)
            with open_ledger() as session:
                requests.close_request(session, request_id, status="failed", note="its run was deleted")
        elif not is_done:
            self._finish(request_id)
        _wait(lambda: all(each.poll() is not None for each in alive), 30)
        self._kill(alive)
        with open_ledger() as session:
            requests.close_request(session, request_id, status="done", note="")
        self._look(request_id, must_have_model=trial.end != "given up" or is_done)

    def _try(self, request_id: str, crash: Crash, dice: random.Random, alive: list[WarmProcess]) -> bool:
        """Let one try have its crash, count it if it hit, and return whether the try went well all the same."""
        worker = self._worker(request_id, crash, dice)
        if crash.kind in {"task", "killed", "supervisor"} and not crash.point:
            _wait(lambda: worker.poll() is not None, crash.seconds)
        if crash.kind == "supervisor" and worker.poll() is None:
            alive.append(worker)  # it goes on, and nobody knows of it: the next try begins beside it
            self._found.crashes["supervisor"] += 1
            return False
        if not crash.point and (number := SIGNALS.get(crash.kind)):
            with suppress(ProcessLookupError):
                os.kill(worker.pid, number)
        code = _ended(worker)
        self._books.on_create(lambda: None)
        is_hit = code in CODES[crash.kind] if crash.kind in CODES else not self._books.is_still_disturbed()
        if is_hit:
            self._found.crashes[f"{crash.kind}, {crash.point}".removesuffix(", ")] += 1
        return code == 0

    def _worker(self, request_id: str, crash: Crash | None = None, dice: random.Random | None = None) -> WarmProcess:
        point = crash.point if crash else ""
        is_by_platform = point == "sent" and self._platform != "local"
        if crash and dice and crash.kind == "network":
            self._books.disturb(dice)
        asked = ["-m", "soak.cloud_worker", request_id, self._platform, *([point] if point else [])]
        worker = self._workers.start(asked, dict(os.environ)).keep_output()
        if is_by_platform:
            self._books.on_create(lambda: _kill_now(worker))
        return worker

    def _finish(self, request_id: str) -> None:
        for _ in range(6):  # an attempt that was stopped is one of them
            if _ended(worker := self._worker(request_id)) == 0:
                return
        self._console.print("".join(worker.output[-40:]))

    def _sweep(self, later: timedelta = timedelta()) -> None:
        """Do what the DAG `sweep` does, as it would so much later."""
        sweeping.now = lambda: now() + later  # type: ignore[attr-defined]
        for _ in range(3):
            with suppress(PlatformError):
                sweeping.stop_overdue_jobs([self._platform])
        sweeping.now = now  # type: ignore[attr-defined]

    def _look(self, request_id: str, *, must_have_model: bool) -> None:
        """Sweep, and enter what the books say."""
        self._sweep()
        _wait(lambda: not self._books.running(request_id), 40)
        self._sweep()
        runs, found = self._books.runs_of(request_id), self._found
        found.jobs += len(runs)
        found.duplicates += [f"{request_id}: {run.name}" for run in runs if run.is_needless]
        found.orphans += [f"{request_id} runs on: {each}" for each in self._books.running(request_id)]
        if _has_model(request_id):
            found.models += 1
            if not _wait(lambda: not self._books.left_of(request_id), 20):
                found.orphans += [f"{request_id} has left {each}" for each in self._books.left_of(request_id)]
        elif must_have_model:
            found.lost.append(f"{request_id} has no model")
        with open_ledger() as session:
            rows = [(each.attempt, each.status) for each in jobs.attempts_of(session, request_id)]
        if sum(status == "succeeded" for _, status in rows) > 1:
            found.duplicates.append(f"{request_id} was paid for twice: {rows}")
        if any(status == "open" for _, status in rows):
            found.orphans.append(f"{request_id} is open in the ledger: {rows}")

    def _kill(self, workers: list[WarmProcess]) -> None:
        for worker in workers:
            _kill_now(worker)
            _ended(worker)


def _has_model(request_id: str) -> bool:
    folder = model_folder(PIPELINE, request_id)
    try:
        artefact.load_session(folder, artefact.read_manifest(folder)["sha256"])
    except ArtefactError:
        return False
    return True


def _ended(worker: WarmProcess) -> int:
    return worker.wait(TRY_SECONDS)


def _kill_now(worker: WarmProcess) -> None:
    with suppress(ProcessLookupError):
        os.kill(worker.pid, signal.SIGKILL)


def _wait(is_so: Callable[[], bool], seconds: float) -> bool:
    until = time.monotonic() + seconds
    while not (so := is_so()) and time.monotonic() < until:
        time.sleep(0.05)
    return so
