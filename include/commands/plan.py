"""This file is `evergreen plan`: what every stage of a pipeline becomes, platform by platform, and whether it can."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from include.commands import console
from include.config import load_pipeline
from include.settings import load_settings

if TYPE_CHECKING:
    from include.finding import Finding
    from include.planning import Column
    from include.stages import Stage

CAPTION = (
    "Tasks have the image, network and identity of Airflow's workers, the endpoint those it is started with (image "
    "`serve`); no price is kept of them."
)
MARKS = {"ok": "[green]✔[/]", "problem": "[red]✘[/]", "unsure": "[yellow]?[/]"}


def plan(
    pipeline: Annotated[str, typer.Argument(help="The pipeline.")],
    platform: Annotated[
        list[str] | None, typer.Option(help="A platform to look at, several times; all, if none is named.")
    ] = None,
    check: Annotated[
        bool,
        typer.Option("--check", help="Also verify what can be reached, on the pipeline's own platform or those named."),
    ] = False,
) -> None:
    """Show what each stage becomes, the training's job platform by platform; nothing is started."""
    from include import planning
    from include.installation import check_installation
    from include.stages import stages_of

    loaded, settings = load_pipeline(pipeline), load_settings()
    columns, budget = planning.plan_of(loaded, planning.platforms_of(loaded, platform or ()))
    console.print(stages_table(stages_of(loaded, settings)))
    console.print(platforms_table(columns, loaded.platform))
    for column in columns:
        if column.problem:
            console.print(f"[red]✘[/] {column.platform}: {escape(column.problem)}", soft_wrap=True, highlight=False)
    console.print(escape(budget), highlight=False)
    if not check:
        return
    has_problem = show("here", check_installation(settings))
    for name in platform or [loaded.platform]:
        has_problem |= show(name, planning.check(loaded, name, datetime.now(UTC).date()))
    if has_problem:
        raise typer.Exit(1)


def stages_table(stages: Iterable["Stage"]) -> Table:
    """Return a row for each stage."""
    table = Table(title="The same on every platform", title_justify="left", caption=CAPTION, caption_justify="left")
    for heading in ("stage", "operators", "runs on", "reaches"):
        table.add_column(heading)
    for stage in stages:
        table.add_row(stage.name, escape(_operators(stage)), escape(stage.runs_on), escape(stage.reaches))
    return table


def platforms_table(columns: Iterable["Column"], chosen: str) -> Table:
    """Return a column for each platform, a row for each aspect of the training's job."""
    from include.planning import ASPECTS

    columns = list(columns)
    table = Table("train", title="The training's job", title_justify="left")
    for column in columns:
        own = " (as the YAML says)" if column.platform == chosen else ""
        table.add_column(f"{column.platform}{own}", ratio=1, overflow="fold")
    for aspect in ASPECTS:
        missing = "not set up: see below" if aspect == ASPECTS[0] else "–"
        table.add_row(aspect, *(escape(column.cells.get(aspect, missing)) for column in columns))
    return table


def show(where: str, findings: Iterable["Finding"]) -> bool:
    """Print findings as they come, a line each; return whether one of them is a problem."""
    has_problem = False
    for finding in findings:
        has_problem |= finding.verdict == "problem"
        line = f"{MARKS[finding.verdict]} {where:<11} {finding.what:<24} {escape(str(finding))}"
        console.print(line, soft_wrap=True, highlight=False)
    return has_problem


def _operators(stage: "Stage") -> str:
    """Return the tasks, those of the same operator together."""
    if not stage.tasks:
        return "none: it is no DAG"
    by_operator: dict[str, list[str]] = {}
    for task, operator in stage.tasks.items():
        by_operator.setdefault(operator, []).append(task)
    return "; ".join(f"{operator} {', '.join(tasks)}" for operator, tasks in by_operator.items())
