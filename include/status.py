"""This file shows what the ledger knows about each pipeline: the champion, the newest days, the governor's word."""

import io
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from rich.console import Console, Group, RenderableType
from rich.markup import escape
from rich.panel import Panel
from rich.table import Table
from sqlalchemy.orm import Session

from include.config import Pipeline, load_pipelines
from include.ledger import Release, nights, open_ledger, releases, requests

NEWEST = 7


def status_view(pipelines: Iterable[Pipeline]) -> RenderableType:
    """Return one panel per pipeline."""
    with open_ledger() as session:
        return Group(*(_panel(session, pipeline) for pipeline in pipelines))


def status_page() -> str:
    """Return the status of all pipelines as an HTML page, with links to the reports."""
    console = Console(record=True, width=150, file=io.StringIO())
    console.print(status_view(load_pipelines()))
    return console.export_html(inline_styles=True)


def _panel(session: Session, pipeline: Pipeline) -> Panel:
    facts = Table.grid(padding=(0, 2))
    facts.add_column(style="bold")
    facts.add_row("champion", _champion(releases.champion_of(session, pipeline.name)))
    unfinished = requests.unfinished_requests(session, pipeline.name)
    facts.add_row(
        "open requests", "\n".join(f"{row.id}: {row.status}, {escape(row.reason)}" for row in unfinished) or "none"
    )
    decision = nights.last_decision(session, pipeline.name)
    facts.add_row(
        "governor",
        f"[bold]{decision.action}[/]: {escape(decision.reason)}" if decision else "has not said anything yet",
    )
    parts: Sequence[RenderableType] = (facts, _days(session, pipeline), _releases(session, pipeline))
    return Panel(Group(*parts), title=f"[bold]{pipeline.name}[/]  {escape(pipeline.description)}", title_align="left")


def _champion(champion: Release | None) -> str:
    if champion is None or champion.serving_at is None:
        return "none yet: the first one is asked for once enough labelled days are ingested"
    age = datetime.now(UTC) - champion.serving_at.replace(tzinfo=UTC)
    quality = ", ".join(f"{name} {value:.3f}" for name, value in champion.metrics.items() if isinstance(value, float))
    return (
        f"version {champion.version}, serving for {str(age).split('.', maxsplit=1)[0]}, "
        f"has seen data until {champion.judged_until}; on days it had not seen: {quality}"
    )


def _days(session: Session, pipeline: Pipeline) -> Table:
    table = Table("day", "status", "rows", "quarantined", "served by", "drifted", "AUC", "log loss", "report", box=None)
    windows = {window.day: window for window in nights.windows_of(session, pipeline.name)}
    for row in nights.partitions_of(session, pipeline.name, newest=NEWEST):
        window = windows.get(row.day)
        colour = "green" if row.status == "published" else "red"
        measured = window.measures.get("quality") or {} if window else {}
        table.add_row(
            row.day,
            f"[{colour}]{row.status}[/]" + (" again" if row.redeliveries else ""),
            f"{row.rows:,}",
            str(row.quarantined),
            f"v{window.version}" if window else "",
            "" if window is None or window.drifted_share is None else f"{window.drifted_share:.0%}",
            *(f"{measured[name]:.3f}" if measured.get(name) is not None else "" for name in ("auc", "log_loss")),
            f"[link=/evergreen/reports/{row.report}]validation[/]"
            + (f" [link=/evergreen/reports/{window.report}]drift[/]" if window and window.report else ""),
        )
    return table


def _releases(session: Session, pipeline: Pipeline) -> Table:
    table = Table("version", "state", "asked for by", "the gate said", box=None)
    for release in releases.releases_of(session, pipeline.name)[:NEWEST]:
        table.add_row(f"v{release.version}", release.status, release.request_id, escape(release.note))
    return table
