"""This file shows what the ledger knows about each pipeline: the champion, the newest days, the governor's word."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.panel import Panel
from rich.table import Table
from rich.text import Text
from sqlalchemy.orm import Session

from include import cost_view
from include.config import broken_pipelines, load_pipelines
from include.learning.metrics import in_words
from include.ledger import Partition, Release, Request, Window, jobs, nights, open_ledger, pauses, releases, requests
from include.missing_days import missing_days
from include.page import page_of
from include.pipeline import Pipeline
from include.release_story import gate_said, since_then
from include.rollout_view import under_way

NEWEST = 7
LEGEND = Text(
    "known: rows whose outcome has arrived · bad: rows in quarantine · drift: share of what the model relies on",
    style="dim italic",
)


def status_view(pipelines: Iterable[Pipeline], *, has_links: bool = False) -> RenderableType:
    """Return one panel per pipeline, with links to the reports where they can be followed."""
    with open_ledger() as session:
        return Group(*(_panel(session, pipeline, has_links=has_links) for pipeline in pipelines))


def status_page() -> str:
    """Return the status of all pipelines as an HTML page, with links to the reports."""
    return page_of(status_view(load_pipelines(), has_links=True), broken_view())


def broken_view() -> RenderableType:
    """Return a panel for each pipeline whose YAML cannot be read: its DAGs are gone until it is mended."""
    return Group(
        *(
            Panel(escape(why), title=f"[bold red]{name}: cannot be read[/]", title_align="left", border_style="red")
            for name, why in broken_pipelines().items()
        )
    )


def _panel(session: Session, pipeline: Pipeline, *, has_links: bool) -> Panel:
    days = nights.partitions_of(session, pipeline.name, newest=NEWEST)
    windows = {window.day: window for window in nights.windows_of(session, pipeline.name)}
    shown = list(dict.fromkeys([pipeline.gate.metric, pipeline.governor.metric]))
    parts: list[RenderableType] = [
        escape(pipeline.description),  # not in the title, which would be cut off where the window is narrow
        _facts(session, pipeline, days),
    ]
    if days:
        parts += [_days(days, windows, shown, has_links=has_links), LEGEND]
    if (made := _releases(session, pipeline)).row_count:
        parts.append(made)
    links = f"  [link=/evergreen/why/{pipeline.name}]why?[/]  [link=/evergreen/history/{pipeline.name}]history[/]"
    ask = links if has_links else ""
    return Panel(Group(*parts), title=f"[bold]{pipeline.name}[/]{ask}", title_align="left")


def _facts(session: Session, pipeline: Pipeline, days: Sequence[Partition]) -> Table:
    facts = Table.grid(padding=(0, 2))
    facts.add_column(style="bold")
    if held := pauses.pause_of(session, pipeline.name):
        facts.add_row("[yellow]paused[/]", f"{escape(pauses.said(held))}. No model changes by itself.")
    facts.add_row("champion", _champion(releases.champion_of(session, pipeline.name)))
    for tried in releases.tried_beside(session, pipeline.name):
        if told := under_way(tried, pipeline.rollout):
            facts.add_row("rollout", told)
    unfinished = requests.unfinished_requests(session, pipeline.name)
    facts.add_row(
        "open requests", "\n".join(f"{row.id}: {row.status}, {escape(row.reason)}" for row in unfinished) or "none"
    )
    for attempt in jobs.open_attempts(session):
        if attempt.pipeline == pipeline.name:
            facts.add_row("training", cost_view.under_way(attempt))
    if told := cost_view.spending(pipeline, jobs.spent(session, pipeline.name)):
        facts.add_row("cost", told)
    decision = nights.last_decision(session, pipeline.name)
    facts.add_row(
        "governor",
        f"[bold]{decision.action}[/] ({decision.at:%Y-%m-%d %H:%M} UTC): {escape(decision.reason)}"
        if decision
        else "has not said anything yet: it speaks after each night",
    )
    for what, lines in _not_learned_from(session, pipeline, days):
        facts.add_row(what, escape("\n".join(lines)))
    return facts


def _not_learned_from(
    session: Session, pipeline: Pipeline, days: Sequence[Partition]
) -> Iterable[tuple[str, Sequence[str]]]:
    missing = missing_days(session, pipeline, datetime.now(UTC))
    told = {
        "[yellow]awaited[/]": [f"{each.days}: {each.why}" for each in missing if each.state == "awaited"],
        "[red]ingest failed[/]": [f"{each.days}: {each.why}" for each in missing if each.state == "failed"],
        "[red]refused[/]": [f"{row.day}: {row.note}" for row in days if row.status == "refused"],
    }
    yield from ((what, lines) for what, lines in told.items() if lines)


def _champion(champion: Release | None) -> str:
    if champion is None or champion.serving_at is None:
        return "none yet: the first one is asked for once enough labelled days are ingested"
    age = datetime.now(UTC) - champion.serving_at
    return (
        f"version {champion.version}, serving for {str(age).split('.', maxsplit=1)[0]}, "
        f"has seen data until {champion.judged_until}; on its own held-out days: {in_words(champion.metrics)}"
        f"{_made(champion.metrics)}"
    )


def _made(numbers: Mapping[str, Any]) -> str:
    """Return how long making the champion took, and what it cost where its machine has a price."""
    if not (seconds := numbers.get("seconds")):
        return ""
    took = f"{seconds:.0f} s" if seconds < 120 else str(timedelta(seconds=round(seconds)))
    cost = numbers.get("training_cost")
    return f"\nmade in {took}, cost {cost:.2f}" if cost else f"\nmade in {took}"


def _days(days: Sequence[Partition], windows: Mapping[str, Window], shown: Sequence[str], *, has_links: bool) -> Table:
    table = Table(box=None, padding=(0, 1, 0, 0))  # as much as fits into 80 columns
    for heading in (
        "day",
        "status",
        "rows",
        "known",
        "bad",
        "model",
        "drift",
        *shown,
        *(["reports"] if has_links else []),
    ):
        table.add_column(heading, no_wrap=True)
    for row in days:
        window = windows.get(row.day)
        colour = "green" if row.status == "published" else "red"
        measured = window.measures.get("quality") or {} if window else {}
        table.add_row(
            row.day,
            f"[{colour}]{row.status}[/]" + (" again" if row.redeliveries else ""),
            f"{row.rows:,}",
            f"{row.labelled / row.rows:.0%}" if row.rows else "",
            f"{row.quarantined}" + (f" ({row.repaired} repaired)" if row.repaired else ""),
            f"v{window.version}" if window else "",
            "" if window is None or window.drifted_share is None else f"{window.drifted_share:.0%}",
            *(f"{measured[name]:.3f}" if measured.get(name) is not None else "" for name in shown),
            *([_links(row, window)] if has_links else []),
        )
    return table


def _links(row: Partition, window: Window | None) -> str:
    quality = window.measures.get("quality", {}).get("report", "") if window else ""
    reports = {"validation": row.report, "drift": window.report if window else "", "quality": quality}
    return " ".join(f"[link=/evergreen/reports/{path}]{name}[/]" for name, path in reports.items() if path)


def _releases(session: Session, pipeline: Pipeline) -> Table:
    newest = releases.releases_of(session, pipeline.name)[:NEWEST]
    has_costs = any(release.metrics.get("training_cost") for release in newest)
    has_more = any(map(since_then, newest))
    costs, more = ["cost"] if has_costs else [], ["since then"] if has_more else []
    table = Table("version", "state", *costs, "asked for because", "the gate said", *more, box=None)
    for release in newest:
        request = session.get(Request, release.request_id)
        table.add_row(
            f"v{release.version}",
            release.status,
            *([f"{release.metrics.get('training_cost', 0):.2f}"] if has_costs else []),
            escape(f"{request.triggered_by}: {request.reason}" if request else release.request_id),
            escape(gate_said(release)),
            *([escape(since_then(release))] if has_more else []),
        )
    return table
