"""This file finds in the ledger what people should hear of: each thing once, in words that say what to do."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from croniter import croniter

from include.ledger import Partition, Release, Request, Window, alerts, nights, open_ledger, releases, requests
from include.ledger.tables import now
from include.pipeline import Pipeline

NEWEST = 50
RECENT = timedelta(days=2)  # what is older was seen by people before there were alerts, or by nobody for too long


@dataclass(frozen=True)
class Found:
    """Something people should hear of; `kind` and `about` make it one thing, however often it is found."""

    kind: str
    about: str
    text: str


@dataclass(frozen=True)
class Facts:
    """What the ledger knows about one pipeline; newest first."""

    pipeline: Pipeline
    partitions: Sequence[Partition]
    windows: Sequence[Window]
    requests: Sequence[Request]
    releases: Sequence[Release]


def look(pipelines: Iterable[Pipeline]) -> None:
    """Enter an alert for everything new in the ledger that people should hear of."""
    for pipeline in pipelines:
        with open_ledger() as session:
            facts = Facts(
                pipeline=pipeline,
                partitions=nights.partitions_of(session, pipeline.name, newest=NEWEST),
                windows=nights.windows_of(session, pipeline.name)[::-1][:NEWEST],
                requests=requests.requests_of(session, pipeline.name, newest=NEWEST),
                releases=releases.releases_of(session, pipeline.name)[:NEWEST],
            )
            for found in find(facts, now()):
                alerts.raise_alert(session, found.kind, found.about, pipeline=pipeline.name, text=found.text)


def find(facts: Facts, moment: datetime) -> list[Found]:
    """Return what people should hear of, as of a moment."""
    recent = moment - RECENT
    return [*_drift(facts, recent), *_requests(facts, recent), *_releases(facts, recent), *_nights(facts, moment)]


def due_day(pipeline: Pipeline, moment: datetime) -> tuple[str, datetime] | None:
    """Return the newest day that should be in, and when its night began; None outside the schedule."""
    ticks = croniter(pipeline.schedule.cron, moment.astimezone(UTC))
    began = ticks.get_prev(datetime)
    day = ticks.get_prev(datetime).date()
    is_over = pipeline.schedule.end is not None and day > pipeline.schedule.end
    return None if is_over or day < pipeline.schedule.start else (day.isoformat(), began)


def due_days(pipeline: Pipeline, moment: datetime, since: datetime) -> Iterator[tuple[str, datetime]]:
    """Yield the days that should be in and when their nights began, which was not before a moment; newest first."""
    began = croniter(pipeline.schedule.cron, moment.astimezone(UTC)).get_prev(datetime)
    while began >= since:
        if due := due_day(pipeline, began + timedelta(microseconds=1)):
            yield due
        began = croniter(pipeline.schedule.cron, began).get_prev(datetime)


def _drift(facts: Facts, since: datetime) -> Iterable[Found]:
    policy = facts.pipeline.governor
    for window in facts.windows:
        share = window.drifted_share
        if window.at >= since and share is not None and share >= policy.max_drifted_share and share > 0:
            about = f"{window.pipeline}.v{window.version}"
            text = (
                f"{share:.0%} of the columns of {window.pipeline} have drifted on {window.day}, under version "
                f"{window.version}; {policy.max_drifted_share:.0%} alarm. This is told once a version."
            )
            yield Found("drift", about, text)


def _requests(facts: Facts, since: datetime) -> Iterable[Found]:
    for request in facts.requests:
        if request.at >= since and request.triggered_by != "hand":
            yield Found("asked", request.id, f"{request.id} asks for a new model: {request.reason}")
        if request.status == "failed" and request.closed_at and request.closed_at >= since:
            yield Found("failed", request.id, f"{request.id} came to nothing: {request.note}")


def _releases(facts: Facts, since: datetime) -> Iterable[Found]:
    says = {"rejected": "was refused", "failed": "could not be served", "rolled_back": "was rolled back"}
    for release in facts.releases:
        # The ledger does not say when a release was rolled back: months after it was made, perhaps.
        if release.status in says and (release.at >= since or release.status == "rolled_back"):
            yield Found(release.status, release.id, f"{release.id} {says[release.status]}: {release.note}")


def _nights(facts: Facts, moment: datetime) -> Iterable[Found]:
    pipeline = facts.pipeline
    due = due_day(pipeline, moment)
    if due is None or not facts.partitions:
        return  # nothing is due, or nothing was ever ingested: it is still being set up
    day, began = due
    hours = pipeline.alerts.late_hours
    if day not in {row.day for row in facts.partitions} and moment - began >= timedelta(hours=hours):
        text = (
            f"The night of {day} is late: begun at {began:%Y-%m-%d %H:%M} UTC, no result in {hours:g} hours. "
            f"Look at {pipeline.name}__ingest: is it switched on, does it wait for its delivery?"
        )
        yield Found("late", f"{pipeline.name}.{day}", text)
    newest = max((row.day for row in facts.partitions if row.status == "published"), default=None)
    days = pipeline.alerts.silent_days
    if newest and (datetime.fromisoformat(day) - datetime.fromisoformat(newest)).days >= days:
        text = f"No data of {pipeline.name} since {newest}: {day} should be in. {days} days without any alarm."
        yield Found("silent", f"{pipeline.name}.{newest}", text)
