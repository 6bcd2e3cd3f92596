"""This file says what is noted of a rollback: why, and what its target stays where it comes to nothing."""

from dataclasses import dataclass

from include.ledger import Release


@dataclass(frozen=True)
class Back:
    """A rollback: why, and what its target stays if the endpoint does not take it up."""

    reason: str
    stays: str


def begun_back(release: Release) -> dict[str, str]:
    """Return what was noted when a rollback to a release began: `reason`, `at`, `stays`; nothing before the first."""
    return (release.rollout or {}).get("back", {})


def stays_of(release: Release) -> str:
    """Return what a former champion is where it does not come back: what it was before."""
    was = begun_back(release).get("stays", "") if release.status == "promoting" else release.status
    return "rolled_back" if was == "rolled_back" else "retired"
