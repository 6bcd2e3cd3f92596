"""This file decides what may go: pure, from what lies there, how old it is, and what somebody still needs.

Age is the time since a thing was last written, not the day it is about: a backfill writes days of long ago, today.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

from include.ledger import Release, Request, Window
from include.pipeline import Pipeline
from include.policy import Retention

Kind = Literal["raw", "landed", "quarantine", "predictions", "scores", "reports", "runs", "models", "temporary"]

TEMPORARY_DAYS = 1  # no single file takes a day to be written, and no removal to be finished
_IN_USE = ("candidate", "approved", "promoting", "champion")
_FORMER = ("retired", "rolled_back")


@dataclass(frozen=True)
class Item:
    """One thing that is kept or goes as a whole."""

    kind: Kind
    path: Path
    written: datetime
    num_bytes: int = 0
    uri: str = ""  # of what lies in an object store; the path is that of its copy, which goes with it


@dataclass(frozen=True)
class Needed:
    """Names that somebody still works with, whatever their age."""

    runs: frozenset[str] = frozenset()
    models: frozenset[str] = frozenset()


def policy_of(pipeline: Pipeline) -> Retention:
    """Return a pipeline's policy, under which what late labels are joined with lasts as long as they are waited for."""
    policy, labels = pipeline.retention, pipeline.source.labels
    waited = labels.delay_days + labels.wait_days + 1 if labels and labels.delay_days else 0
    asked = {name: getattr(policy, name) for name in ("raw_days", "runs_days", "predictions_days")}
    return policy.model_copy(update={name: max(days, waited) for name, days in asked.items() if days is not None})


def days_kept(policy: Retention) -> Mapping[Kind, int | None]:
    """Return the days that each kind is kept; none is for ever."""
    return {
        "raw": policy.raw_days,
        # A copy of the delivery in another format, made again when wanted; it outlives the lists of runs that name it.
        "landed": policy.runs_days + 1,
        "quarantine": policy.quarantine_days,
        "predictions": policy.predictions_days,
        "scores": policy.scores_days,
        "reports": policy.reports_days,
        "runs": policy.runs_days,
        "models": policy.models_days,
        "temporary": TEMPORARY_DAYS,
    }


def may_go(items: Iterable[Item], needed: Needed, policy: Retention, now: datetime) -> list[Item]:
    """Return what is older than its kind is kept, and needed by nobody."""
    kept = days_kept(policy)
    protected = {"runs": needed.runs, "models": needed.models}
    return [
        item
        for item in items
        if is_older(item.written, kept[item.kind], now) and item.path.name not in protected.get(item.kind, ())
    ]


def is_older(written: datetime, days: int | None, now: datetime) -> bool:
    """Return whether something was written more than so many days ago; nothing is older than for ever."""
    return days is not None and written < now - timedelta(days=days)


def models_needed(
    releases: Sequence[Release],
    unfinished: Iterable[Request],
    windows: Iterable[Window],
    policy: Retention,
    now: datetime,
) -> set[int | str]:
    """Return versions, and ids of requests without a version yet, whose models must stay.

    They are: what serves or is on its way there; the newest former champions, for a rollback; versions that answered
    on days whose predictions are kept, since a day measured again is compared with its version's training window.
    """
    in_use = {release.version for release in releases if release.status in _IN_USE}
    former = [release for release in releases if release.status in _FORMER and release.serving_at is not None]
    former.sort(key=lambda release: str(release.serving_at), reverse=True)
    measured = {window.version for window in windows if not is_older(as_utc(window.at), policy.predictions_days, now)}
    return {
        *in_use,
        *(release.version for release in former[: policy.former_champions]),
        *measured,
        *(request.id for request in unfinished),
    }


def as_utc(moment: datetime) -> datetime:
    """Return a moment of the ledger with its zone: SQLite hands back naive times that were written in UTC."""
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
