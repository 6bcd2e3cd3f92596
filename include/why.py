"""This file answers "why no retrain?" and "why this model?" from the ledger alone, and says what a person can do."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta

from sqlalchemy.orm import Session

from include.ledger import Decision, Partition, Pause, Release, Request, Window, nights, pauses
from include.ledger import releases as release_rows
from include.ledger import requests as request_rows
from include.missing_days import MissingDays, missing_days
from include.monitoring.deciding import ON_THEIR_WAY, champion_as_judged, last_tried
from include.pipeline import Pipeline
from include.release_story import ended, gate_said, since_then

NEWEST = 5
WINDOWS = 10


@dataclass(frozen=True)
class Facts:
    """What the ledger knows that bears on the next model; all lists newest first."""

    pipeline: Pipeline
    champion: Release | None
    asked: Request | None  # what the champion came of
    windows: Sequence[Window]  # of the champion's version
    decisions: Sequence[Decision]
    requests: Sequence[Request]
    releases: Sequence[Release]
    pauses: Sequence[Pause]
    held: Pause | None
    refused: Sequence[Partition]
    missing: Sequence[MissingDays] = ()
    judged_after: Mapping[str, int] = field(default_factory=dict)  # request of a repair: labelled days since, so far
    last_tried: str = ""  # newest day that a challenger which came to nothing was asked for


@dataclass(frozen=True)
class Answer:
    """The answer in sentences: the weightiest first."""

    no_retrain: list[str]
    this_model: list[str]
    to_do: list[str]


def facts_of(session: Session, pipeline: Pipeline) -> Facts:
    """Read what the answer rests on."""
    champion = release_rows.champion_of(session, pipeline.name)
    windows = nights.windows_of(session, pipeline.name, champion.version) if champion else []
    days = nights.partitions_of(session, pipeline.name)
    labelled = [row.day for row in days if row.status == "published" and row.labelled]
    return Facts(
        pipeline=pipeline,
        champion=champion,
        asked=session.get(Request, champion.request_id) if champion else None,
        windows=list(reversed(windows))[:WINDOWS],
        decisions=nights.decisions_of(session, pipeline.name, newest=NEWEST),
        requests=request_rows.requests_of(session, pipeline.name, newest=NEWEST),
        releases=release_rows.releases_of(session, pipeline.name)[:NEWEST],
        pauses=pauses.pauses_of(session, pipeline.name, newest=NEWEST),
        held=pauses.pause_of(session, pipeline.name),
        missing=missing_days(session, pipeline, datetime.now(UTC)),
        refused=[row for row in days if row.status == "refused"][:NEWEST],
        judged_after={
            request.id: sum(day > release.judged_until for day in labelled)
            for request, release in request_rows.repairs_without_outcome(session, pipeline.name)
        },
        last_tried=last_tried(session, pipeline.name, "retrain"),
    )


def explain(facts: Facts) -> Answer:
    """Answer from the facts."""
    found = [*_paused(facts), *_on_their_way(facts), *_came_to_nothing(facts), *_cooling(facts), *_governor(facts)]
    found += _not_measured(facts)
    return Answer(
        no_retrain=[reason for reason, _ in found],
        this_model=_this_model(facts),
        to_do=list(dict.fromkeys(advice for _, advice in found if advice))
        or [f"A new model at once: start {facts.pipeline.name}__train by hand."],
    )


def cooldown_until(facts: Facts) -> str | None:
    """Return the first day whose window may ask for a new model again; None without a champion."""
    if facts.champion is None:
        return None
    champion = champion_as_judged(facts.champion, facts.pipeline.governor.metric)
    seen = max(champion.network_until if champion else "", facts.last_tried)
    first = date.fromisoformat(seen) + timedelta(days=facts.pipeline.governor.cooldown_days)
    return first.isoformat()


Reasons = Iterable[tuple[str, str]]  # a sentence, and what can be done about it


def _paused(facts: Facts) -> Reasons:
    if facts.held:
        scope = "" if facts.held.pipeline == pauses.EVERYTHING else f" {facts.held.pipeline}"
        yield f"{pauses.said(facts.held)}.", f"End the pause: evergreen resume{scope}."


def _on_their_way(facts: Facts) -> Reasons:
    name = facts.pipeline.name
    for request in facts.requests:
        if request.status == "open":
            yield (
                f"{request.id} has asked for a new model and waits for a run since {at(request.at)}.",
                "" if facts.held else f"`sweep` wakes it every ten minutes; is {name}__train paused in Airflow?",
            )
        elif request.status == "claimed":
            yield (
                f"{request.id} is being worked on by run {request.claimed_by} since {at(request.claimed_at)}.",
                f"Follow that run of {name}__train in Airflow.",
            )
    for release in facts.releases:
        if release.status in ON_THEIR_WAY:
            yield (
                f"{release.id} is trained and {release.status}, not yet served: one new model at a time.",
                f"Have it served now: start {name}__deploy by hand with version {release.version}.",
            )


def _came_to_nothing(facts: Facts) -> Reasons:
    name = facts.pipeline.name
    if facts.requests and facts.requests[0].status == "failed":
        last = facts.requests[0]
        yield (
            f"The last request, {last.id}, failed: {last.note}",
            f"Read the failed run of {name}__train in Airflow, mend the cause and clear it.",
        )
    newer = [each for each in facts.releases if facts.champion is None or each.version > facts.champion.version]
    for release in newer:
        if not (told := ended(release)):
            continue
        if release.status == "rolled_back" and release.serving_at:
            advice = f"Put it back: evergreen rollback {name} --to {release.version} --reason WHY."
        else:
            advice = f"See its numbers in MLflow; start {name}__train by hand with other settings, or mend `training`."
        yield told, advice


def _cooling(facts: Facts) -> Reasons:
    until = cooldown_until(facts)
    if facts.champion and until and (not facts.windows or facts.windows[0].day < until):
        newest = f"the newest served day is {facts.windows[0].day}" if facts.windows else "it has not served a day yet"
        tried = f", a challenger that came to nothing until {facts.last_tried}" if facts.last_tried else ""
        yield (
            f"Cooldown: version {facts.champion.version} has seen data until {facts.champion.judged_until}{tried}; "
            f"{until} is the first day that can ask for another, {newest}.",
            "",
        )


def _governor(facts: Facts) -> Reasons:
    if not facts.decisions:
        yield (
            "The governor has not been asked yet: it judges each publication after it is measured.",
            f"Ingest a day ({facts.pipeline.name}__ingest), or look whether {facts.pipeline.name}__monitor has failed.",
        )
        return
    last = facts.decisions[0]
    yield f"The governor's last word ({at(last.at)}): {last.action}. {last.reason}", ""


def _not_measured(facts: Facts) -> Reasons:
    needed = facts.pipeline.governor.min_rows
    if facts.windows and facts.windows[0].labelled < needed:
        newest = facts.windows[0]
        yield (
            f"Quality of {newest.day} is not known: {newest.labelled} of {newest.rows} rows have a label, "
            f"{needed} are needed; drift speaks in its place.",
            "Deliver the missing labels and ingest that day again.",
        )
    for missing in facts.missing:
        what = "Awaited" if missing.state == "awaited" else "Ingest failed"
        yield f"{what}, {missing.days}: {missing.why}", missing.remedy
    for row in facts.refused:
        yield (
            f"{row.day} was refused and is not learned from: {row.note}",
            f"Deliver {row.day} again and start {facts.pipeline.name}__ingest by hand for it.",
        )


def _this_model(facts: Facts) -> list[str]:
    champion = facts.champion
    if champion is None:
        return ["There is no model yet."]
    lines = [f"Version {champion.version} serves since {at(champion.serving_at)}; {champion.request_id} asked for it."]
    if facts.asked:
        lines.append(f"Asked because: {facts.asked.reason}")
    lines += [f"{each.id} {outcome_of(each)}" for each in facts.requests if each.outcome]
    needed = facts.pipeline.governor.repairs.window_days
    lines += [
        f"{request_id}: what it gained is known once {needed} days after it have their labels; {days} have so far."
        for request_id, days in facts.judged_after.items()
    ]
    lines.append(f"The gate: {gate_said(champion)}")
    return [*lines, f"Since then: {told}"] if (told := since_then(champion)) else lines


def outcome_of(request: Request) -> str:
    """Return what a repair promised and what it really gained, in words."""
    found = request.outcome or {}
    if "gain" not in found:
        return str(found.get("why", "")) or "has no outcome yet."
    promised = "" if found.get("promised") is None else f"promised {found['promised']:+.1%} and "
    return (
        f"({request.repair}) {promised}gained {found['gain']:+.1%} of the loss on {found['days'][0]} to "
        f"{found['days'][1]}, 90% interval [{found['low']:+.1%}, {found['high']:+.1%}]."
    )


def at(moment: datetime | None) -> str:
    """Return a moment as people read it."""
    return f"{moment:%Y-%m-%d %H:%M}" if moment else ""
