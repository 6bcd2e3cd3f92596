"""This file decides about releases on their way to the endpoint: pure, from what the ledger says and what was seen."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from include.errors import StaleReleaseError
from include.ledger import Release
from include.policy import Rollout
from include.serving.state import Challenger, State


def choose_target(champion: Release | None, known: Sequence[Release], to_version: int | None) -> Release:
    """Return the release a rollback goes to: the version asked for, one half-way back already, or the one before.

    The one before is what served last of the versions older than the champion; not one that was rolled back itself and
    never put back since: that one goes forward again by its number only.

    :raises StaleReleaseError: if there is none.
    """
    served = [release for release in known if release.serving_at is not None and release.status != "removed"]
    if to_version is not None:
        fitting = [release for release in served if release.version == to_version]
    else:
        fitting = [release for release in served if release.status == "promoting"] or [
            release
            for release in served
            if release.status == "retired" and (champion is None or release.version < champion.version)
        ]
    if not fitting:
        raise StaleReleaseError(
            f"Nothing to roll back to: wanted {'the one before' if to_version is None else f'version {to_version}'}, "
            f"the champion is {champion.id if champion else 'none'}, versions that have served: "
            f"{[release.version for release in served]}. One of these is put back by its number: `evergreen rollback "
            "PIPELINE --to VERSION`, or `to_version` of the DAG."
        )
    return max(fitting, key=_began)


def rollback_in_words(
    champion: Release | None, target: Release, known: Sequence[Release], tried: Sequence[Release]
) -> str:
    """Return what a rollback to a release is about to do, and why it goes there."""
    if champion is None:
        return f"No version serves; {target.id} is put back."
    if target.id == champion.id:
        ends = " and ".join(f"v{release.version}" for release in tried)
        return f"The trial of {ends} is over; {target.id} goes on." if tried else f"{target.id} serves already."
    if target.version > champion.version:
        return f"{target.id} is put back in place of v{champion.version}, which stays the one before it."
    passed = [
        f"v{release.version}"
        for release in sorted(known, key=lambda release: release.version)
        if release.status == "rolled_back" and target.version < release.version < champion.version
        if release.serving_at is not None
    ]
    over = f" {' and '.join(passed)}: rolled back and not put back since, so passed over." if passed else ""
    since = f"{target.serving_at:%Y-%m-%d %H:%M} UTC"
    return f"Back from v{champion.version} to {target.id}, which began to serve at {since}.{over}"


def _began(release: Release) -> str:
    return str(release.serving_at)


def is_declared(state: State | None, champion: Release) -> bool:
    """Return whether a declared state is the champion's, and nobody else's."""
    wanted = (champion.version, champion.model_uri, champion.sha256)
    return state is not None and (state.version, state.model_uri, state.sha256) == wanted and not state.challenger


def has_acknowledged(answer: Mapping[str, Any], state: State) -> bool:
    """Return whether the endpoint's `/ping` says that each of its processes serves this very state."""
    workers = answer.get("workers", [])
    return bool(workers) and all(
        worker["pipelines"].get(state.pipeline, {}).get("generation") == state.generation for worker in workers
    )


def state_of(release: Release, fence: int, beside: Release | None = None, share: float = 0) -> State:
    """Return the state in which a release is served, and another one is tried beside it.

    :param share: of the requests that the other one answers, from 0 to 1; 0: copies.
    """
    tried = Challenger(beside.version, beside.model_uri, beside.sha256, share) if beside else None
    return State(release.pipeline, fence, release.version, release.model_uri, release.sha256, tried)


@dataclass(frozen=True)
class Seen:
    """What one version did in a step of a rollout."""

    answered: int
    failed: int = 0  # requests that it could not answer; the champion did
    p99_ms: float | None = None


@dataclass(frozen=True)
class Step:
    """What was seen of champion and challenger in one step.

    :param shift: how far the challenger's answers lie from the champion's to requests of the same time: in standard
        deviations of the champion's, or the Jensen-Shannon distance of classes; none: there were too few.
    :param expected_shift: how far they lay apart on the requests that were replayed; none: there were none.
    :param quality_drop: by how much the challenger was worse in the governor's metric; none: no labels yet.
    """

    champion: Seen
    challenger: Seen
    shift: float | None = None
    expected_shift: float | None = None
    quality_drop: float | None = None


@dataclass(frozen=True)
class Verdict:
    """What is to become of a step, and why."""

    decision: Literal["wait", "go_on", "roll_back"]
    reason: str


def steps_of(policy: Rollout) -> list[float]:
    """Return the challenger's share in each step of a rollout, from 0 (it answers copies) to 1."""
    return [*([0.0] if policy.shadow == "live" else []), *(percent / 100 for percent in policy.steps)]


def judge_step(policy: Rollout, step: Step, max_quality_drop: float, *, is_over: bool) -> Verdict:
    """Decide whether a challenger goes on, is looked at longer, or goes back.

    A failure is judged at once, all else when the bake is over.
    """
    tried = step.challenger
    asked = tried.answered + tried.failed
    if asked and tried.failed / asked > policy.max_failed:
        return Verdict(
            "roll_back",
            f"it could not answer {tried.failed} of {asked} requests that the champion could; at most "
            f"{policy.max_failed:.1%} may fail",
        )
    if not is_over:
        return Verdict("wait", f"{asked} requests so far, {tried.failed} failed")
    if min(tried.answered, step.champion.answered) < policy.min_requests:
        return Verdict(
            "go_on",
            f"traffic is thin: {tried.answered} requests by it and {step.champion.answered} by the champion, "
            f"{policy.min_requests} of each are wanted to compare more than failures",
        )
    problems = [found for check in (_too_slow, _too_different) if (found := check(policy, step))]
    if step.quality_drop is not None and step.quality_drop > max_quality_drop:
        problems.append(f"its quality is worse by {step.quality_drop:.3g}, at most {max_quality_drop:g} may be")
    if problems:
        return Verdict("roll_back", "; ".join(problems))
    return Verdict("go_on", _in_words(step))


def _too_slow(policy: Rollout, step: Step) -> str | None:
    tried, usual = step.challenger.p99_ms, step.champion.p99_ms
    # A ratio of two milliseconds says nothing where both are quick enough.
    if tried is None or usual is None or tried <= max(policy.max_p99_ratio * usual, policy.latency_budget_ms):
        return None
    return (
        f"one in a hundred answers takes {tried:.0f} ms, the champion's {usual:.0f}; at most "
        f"{policy.max_p99_ratio:g} times as long, or {policy.latency_budget_ms:g} ms, may be"
    )


def _too_different(policy: Rollout, step: Step) -> str | None:
    if step.shift is None or step.expected_shift is None:
        return None
    # Models that lie far apart do so by more on one hour's requests than on another's.
    allowed = step.expected_shift + policy.max_shift * max(1.0, step.expected_shift)
    if step.shift <= allowed:
        return None
    return (
        f"its answers lie {step.shift:.2f} from the champion's, on the replayed requests it was "
        f"{step.expected_shift:.2f}; at most {allowed:.2f} may be"
    )


def _in_words(step: Step) -> str:
    said = [f"{step.challenger.answered} requests, {step.challenger.failed} failed"]
    if step.challenger.p99_ms is not None and step.champion.p99_ms is not None:
        said.append(f"p99 {step.challenger.p99_ms:.1f} ms against {step.champion.p99_ms:.1f}")
    if step.shift is not None:
        beside = "" if step.expected_shift is None else f" ({step.expected_shift:.2f} when replayed)"
        said.append(f"answers {step.shift:.2f} from the champion's{beside}")
    if step.quality_drop is not None:
        said.append(f"quality {-step.quality_drop:+.3g}")
    return ", ".join(said)
