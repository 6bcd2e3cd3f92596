"""This file tries a release beside the champion, step by step; where it stands is in the ledger, whoever dies.

`advance` is called again and again until it says that the release may be promoted. Each call looks once and decides
once (include/deployment.py), so that no task waits through a bake, and a killed one is simply called again.
"""

import logging
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from include import observation
from include.config import load_pipeline
from include.deployment import Seen, Step, Verdict, judge_step, state_of, steps_of
from include.errors import EndpointError, RolloutError, StaleReleaseError
from include.learning.kinds import KINDS
from include.learning.task import PREDICTION
from include.ledger import Release, open_ledger, releases
from include.pipeline import Pipeline
from include.promotion import begin, held_by, hold, undo, wait_until_acknowledged
from include.serving.shadow import CHAMPIONS, shadow_folder, shadow_schema
from include.serving.state import declare
from include.settings import load_settings

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Progress:
    """How far a rollout has come.

    :param held: why it may not go on by itself; the release waits, approved.
    """

    is_over: bool
    held: str | None = None


@dataclass(frozen=True)
class Trial:
    """A release that is tried, and the champion beside which it is."""

    pipeline: Pipeline
    release: Release
    champion: Release

    @property
    def shares(self) -> list[float]:
        """Return the release's share in each step."""
        return steps_of(self.pipeline.rollout)

    @property
    def notes(self) -> dict[str, Any]:
        """Return what the ledger knows of this rollout."""
        return self.release.rollout or {}


def advance(release_id: str, *, by_itself: bool = False, timeout_seconds: float = 30.0) -> Progress:
    """Begin a rollout's next step, look at the one that is going on, or find that all of them are done.

    :param by_itself: nobody has asked for this deployment: a pause holds it, and an approval that is not there.
    :raises RolloutError: if the release did worse than it may; it has failed, and the champion answers alone.
    :raises StaleReleaseError: if a rollback has overtaken it, or the champion is not the one it was compared with.
    :raises EndpointError: if the endpoint does not answer; the next call goes on.
    """
    settings, moment = load_settings(), datetime.now(UTC)
    with open_ledger(settings.ledger_url) as session:
        release = releases.get_release(session, release_id)
        champion = releases.champion_of(session, release.pipeline)
        held = held_by(session, release) if by_itself else None
        if release.status == "promoting":
            releases.keep_rollout(session, release_id, seen_at=moment.isoformat())
    if champion is None or release.id == champion.id:
        return Progress(is_over=True)  # there is nothing to compare with
    if release.status not in {"approved", "promoting"}:  # also where all steps are done: it may have been rolled back
        raise StaleReleaseError(f"{release.id} is {release.status}: {release.note or 'it cannot be tried'}.")
    if held:
        return Progress(is_over=False, held=hold(settings, release, held))
    trial = Trial(load_pipeline(release.pipeline), release, champion)
    number = trial.notes.get("step", 0)
    if number >= len(trial.shares):
        return Progress(is_over=True)
    if release.status == "promoting" and trial.notes.get("fence") == release.fence:
        number = _look(trial, number, moment)
    else:
        _begin(trial, number, timeout_seconds)
    return Progress(is_over=number >= len(trial.shares))


def _begin(trial: Trial, number: int, timeout_seconds: float) -> None:
    """Have a step's share answered by the release, and note what was counted until then."""
    settings, share, release = load_settings(), trial.shares[number], trial.release
    release, fence = begin(settings, release.id)
    state = state_of(trial.champion, fence, release, share)
    declare(settings, state)
    why, is_refused = wait_until_acknowledged(settings.endpoint_url, state, timeout_seconds)
    if why:
        becomes = "failed" if is_refused else "approved"
        undo(settings, release, fence, note=f"The endpoint did not acknowledge it: {why}", becomes=becomes)
        raise EndpointError(
            f"The endpoint at {settings.endpoint_url} did not acknowledge {release.id} beside {trial.champion.id} "
            f"(generation {fence}) within {timeout_seconds:g} s: {why}. The champion answers alone."
        )
    began = datetime.now(UTC).isoformat()
    before = observation.counters_of(release.pipeline)
    with open_ledger(settings.ledger_url) as session:
        notes = {"step": number, "fence": fence, "began_at": began, "before": before, "seen_at": began}
        releases.keep_rollout(session, release.id, **notes)
    answers = f"answers {share:.0%} of the requests" if share else "answers copies of the requests"
    log.info("%s %s; %s answers the others.", release.id, answers, trial.champion.id)


def _look(trial: Trial, number: int, moment: datetime) -> int:
    """Judge what was seen of a step so far, and return the number of the step that is next."""
    began = datetime.fromisoformat(trial.notes["began_at"])
    is_over = moment >= began + timedelta(minutes=trial.pipeline.rollout.bake_minutes)
    step = _seen(trial, trial.shares[number], began, is_over=is_over)
    verdict = judge_step(trial.pipeline.rollout, step, trial.pipeline.governor.max_quality_drop, is_over=is_over)
    log.info("%s: step %s of %s: %s", trial.release.id, number + 1, len(trial.shares), verdict.reason)
    if verdict.decision == "wait":
        return number
    if verdict.decision == "roll_back":
        note = f"Sent back: {verdict.reason}"
        undo(load_settings(), trial.release, trial.release.fence or 0, note=note, becomes="failed")
    _note(trial, number, step, verdict)
    if verdict.decision == "go_on":
        return number + 1
    raise RolloutError(
        f"{trial.release.id} was sent back after step {number + 1} of {len(trial.shares)}: {verdict.reason}. "
        f"{trial.champion.id} answers alone. `evergreen why {trial.pipeline.name}` tells what was seen."
    )


def _note(trial: Trial, number: int, step: Step, verdict: Verdict) -> None:
    said = {"share": trial.shares[number], **asdict(step), **asdict(verdict)}
    with open_ledger() as session:
        known = (releases.get_release(session, trial.release.id).rollout or {}).get("steps", [])
        # The next step begins with a fence of its own.
        releases.keep_rollout(session, trial.release.id, steps=[*known[:number], said], step=number + 1, fence=None)


def _seen(trial: Trial, share: float, began: datetime, *, is_over: bool) -> Step:
    pipeline, old, new = trial.pipeline, trial.champion.version, trial.release.version
    after = observation.counters_of(pipeline.name)
    before = trial.notes["before"]
    champion, challenger = (observation.seen_since(before, after, version) for version in (old, new))
    if not is_over:
        return Step(champion, challenger)
    expected = trial.notes.get("replay", {}).get("shift")
    if share == 0:
        copies = _copies(trial, began)
        shift = observation.shift_of(copies, copies, CHAMPIONS + PREDICTION)
        return Step(champion, Seen(len(copies), challenger.failed), shift, expected)
    if share == 1 and trial.notes.get("steps"):  # the champion answers nothing any more: as it was a step before
        champion = Seen(**trial.notes["steps"][-1]["champion"])
    shift = observation.shift_since(pipeline, old, new, began)
    return Step(champion, challenger, shift, expected, observation.quality_drop_since(pipeline, old, new, began))


def _copies(trial: Trial, began: datetime) -> pa.Table:
    folder = shadow_folder(load_settings().lake, trial.pipeline.name, trial.release.version)
    newer = [path for path in folder.glob("[!.]*.parquet") if path.stat().st_mtime >= began.timestamp()]
    schema = shadow_schema(KINDS[trial.pipeline.training.task])
    return pa.concat_tables([schema.empty_table(), *(pq.ParquetFile(path).read() for path in newer)])
