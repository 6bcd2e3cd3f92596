"""This file shows people what was found in their files, what a check said, and what a dry run did."""

from collections.abc import Iterable
from pathlib import Path

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table

from include.onboarding.guess import Guess, Seen
from include.onboarding.profile import Column
from include.onboarding.rehearse import Stage

MOST_COLUMNS = 40
MOST_SIGNS = 48


def findings(seen: Seen, guess: Guess) -> RenderableType:
    """Return a table of the columns: what is in them, and what becomes of each."""
    table = Table(box=None, title_justify="left")
    for heading, side in (("column", "left"), ("type", "left"), ("missing", "right"), ("values", "right")):
        table.add_column(heading, justify=side, no_wrap=True)  # type: ignore[arg-type]
    table.add_column("seen", no_wrap=True)
    table.add_column("becomes")
    both = {**seen.events.columns, **(seen.labels.columns if seen.labels else {})}
    for column in list(both.values())[:MOST_COLUMNS]:
        missing = f"{column.missing_share:.1%}" if column.missing else ""
        cells = (column.name, column.kind, missing, f"{column.distinct:,}", _seen(column), _becomes(column, guess))
        table.add_row(*(escape(cell) for cell in cells))
    more = [f"… and {len(both) - MOST_COLUMNS} columns more"] if len(both) > MOST_COLUMNS else []
    return Group(_summary(seen), table, *more)


def next_steps(name: str, path: Path, seen: Seen) -> RenderableType:
    """Return what to do now."""
    newest, oldest = seen.events.days[-1], seen.events.days[0]
    return "\n".join(
        (
            f"[green]✔[/] Written: [bold]{path}[/]. Comments say what was guessed; read them, then:",
            f"  evergreen validate {name}    [dim]does it fit the deliveries?[/]",
            f"  evergreen dry-run {name} --date {newest}    [dim]every stage on real rows, publishing nothing[/]",
            f"  make up    [dim]then, in Airflow, switch {name}__ingest on and start it by hand from {oldest} to "
            f"{newest}[/]",
        )
    )


def stage_lines(stage: Stage) -> RenderableType:
    """Return what a stage of a dry run did."""
    mark = "[green]✔[/]" if stage.is_good else "[red]✘[/]"
    lines = [f"{mark} [bold]{stage.name:<8}[/] [dim]{stage.seconds:5.1f} s[/]  {escape(stage.said)}"]
    return "\n".join([*lines, *(f"                     [dim]{escape(line)}[/]" for line in stage.details)])


def checks(results: Iterable[tuple[str, str, str]]) -> RenderableType:
    """Return a table of what was checked: ✔ with what was found, or ✘ with what to do.

    :param results: what was checked, what was found, and what to do if that is not right ("" if it is).
    """
    table = Table(box=None, show_header=False, padding=(0, 1))
    for checked, found, remedy in results:
        table.add_row("[red]✘[/]" if remedy else "[green]✔[/]", escape(checked), escape(remedy or found))
    return table


def _summary(seen: Seen) -> str:
    events = seen.events
    lines = [
        f"{len(events.days):,} days, {events.days[0]} to {events.days[-1]}; looked at {events.rows:,} rows of "
        f"{len(events.rows_by_day)} of them."
    ]
    if events.malformed:
        lines.append(f"[yellow]{events.malformed:,} lines are no rows; they will go to quarantine.[/]")
    if seen.labels:
        lines.append(f"Labels: {len(seen.labels.days):,} days, matched by '{seen.label_key}'.")
    return "\n".join(lines)


def _seen(column: Column) -> str:
    if column.low is not None:
        low, high = (f"{end:g}" if isinstance(end, float) else str(end) for end in (column.low, column.high))
        found = f"{low} … {high}"
    else:
        found = ", ".join(value for value, _ in column.values)
    return found if len(found) <= MOST_SIGNS else found[: MOST_SIGNS - 1] + "…"


def _becomes(column: Column, guess: Guess) -> str:
    content, name = guess.content, column.name
    if name in guess.left_out:
        return f"not taken: {guess.left_out[name]}"
    roles = {content["key"]: "key", content["date"]: "date"}
    features = content["training"]["features"]
    roles |= {each: f"feature, {kind}" for kind, names in features.items() for each in names}
    if name == guess.target.column or any(name in text for text in guess.target.derive.values()):
        return f"target, {guess.target.task}"
    made = [new for new, text in content["cleaning"].get("derive", {}).items() if name in text and new in roles]
    return roles.get(name) or "".join(f"{roles[each]} as {each}" for each in made[:1])
