"""This file shows the answer to "why no retrain?" with the rows it rests on: in the terminal and as a page."""

from collections.abc import Iterable

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.panel import Panel
from rich.table import Column, Table

from include.ledger import open_ledger, pauses
from include.monitoring import alarms
from include.monitoring.deciding import champion_as_judged, served_of
from include.page import page_of
from include.pipeline import Pipeline
from include.release_story import gate_said, since_then
from include.rollout_view import rollout_table
from include.why import Facts, at, explain, facts_of

COLOURS = {"quality": "red", "drift": "red", "calm": "green", "unknown": "yellow"}


def why_view(pipeline: Pipeline) -> RenderableType:
    """Return the answer for one pipeline with the rows it rests on."""
    with open_ledger() as session:
        facts = facts_of(session, pipeline)
    answer = explain(facts)
    sentences = Table.grid(padding=(0, 2))
    sentences.add_column(style="bold")
    for question, lines in (
        ("why no new model?", answer.no_retrain),
        ("why this model?", answer.this_model),
        ("what can be done", answer.to_do),
    ):
        sentences.add_row(question, "\n".join(f"• {escape(line)}" for line in lines))
    tables = [table for table in _tables(facts) if table.row_count]
    return Panel(Group(sentences, *tables), title=f"[bold]{pipeline.name}[/]", title_align="left")


def why_page(pipeline: Pipeline) -> str:
    """Return the answer as an HTML page."""
    return page_of(why_view(pipeline))


def _tables(facts: Facts) -> Iterable[Table]:
    yield _windows(facts)
    table = Table("the governor said", "", "why", box=None)
    for decision in facts.decisions:
        table.add_row(at(decision.at), decision.action, escape(decision.reason))
    yield table
    table = Table(_whole("request"), "state", "filed", "note", box=None)
    for request in facts.requests:
        table.add_row(request.id, request.status, at(request.at), escape(request.note))
    yield table
    has_more = any(map(since_then, facts.releases))
    table = Table(_whole("release"), "state", "the gate said", *(["since then"] if has_more else []), box=None)
    for release in facts.releases:
        more = [escape(since_then(release))] if has_more else []
        table.add_row(release.id, release.status, escape(gate_said(release)), *more)
    yield table
    yield rollout_table(facts.releases)
    table = Table("paused", "from", "until", _whole("by"), "why", box=None)
    for pause in facts.pauses:
        scope = "all pipelines" if pause.pipeline == pauses.EVERYTHING else pause.pipeline
        table.add_row(scope, at(pause.at), at(pause.ended_at), pause.by, escape(pause.reason))
    yield table
    table = Table("refused day", "why", box=None)
    for row in facts.refused:
        table.add_row(row.day, escape(row.note))
    yield table


def _whole(heading: str) -> Column:
    """Return a column for what has no spaces to break a line at, and is of use only if nothing of it is cut off."""
    return Column(heading, overflow="fold")


def _windows(facts: Facts) -> Table:
    policy = facts.pipeline.governor
    champion = champion_as_judged(facts.champion, policy.metric)
    table = Table("served day", "rows", "labelled", policy.metric, "against its hold-out", "drifted", "alarm", box=None)
    if champion is None:
        return table
    for window in facts.windows:
        # A champion of before the metric was changed was not judged by it: its windows say nothing, as to the governor.
        is_judged = champion.quality is not None
        alarm = alarms.alarm_of(served_of(window), champion, policy) if is_judged else "unknown"
        is_known = is_judged and window.quality is not None
        drop = alarms.drop_of(float(window.quality or 0), champion, policy.metric) if is_known else None
        table.add_row(
            window.day,
            f"{window.rows:,}",
            f"{window.labelled:,}",
            "" if window.quality is None else f"{window.quality:.3f}",
            "" if drop is None else f"{abs(drop):.3f} {'worse' if drop > 0 else 'better'}",
            "" if window.drifted_share is None else f"{window.drifted_share:.0%}",
            f"[{COLOURS[alarm]}]{alarm}[/]",
        )
    return table
