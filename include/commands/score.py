"""This file is `evergreen score`: answers to a range of published days at once, as the endpoint would give them."""

from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from include.commands import console
from include.config import load_pipeline

if TYPE_CHECKING:
    from include.scoring.job import Scored


def score(
    pipeline: Annotated[str, typer.Argument(help="The pipeline; its clean table must hold the days.")],
    first: Annotated[str, typer.Argument(help="First day, YYYY-MM-DD.")],
    last: Annotated[str, typer.Argument(help="Last day, YYYY-MM-DD, included.")],
    version: Annotated[int | None, typer.Option(help="Version that answers; the champion, if not given.")] = None,
) -> None:
    """Score published days with a model, through Spark, into one Parquet file a day."""
    loaded = load_pipeline(pipeline)
    with console.status("Scoring …"):
        from include.scoring import job
        from include.stack import on_services

        on_services()
        scored = job.score(loaded, first, last, version)
    console.print(table_of(scored))
    console.print(f"They are in {scored.folder}", markup=False, soft_wrap=True)


def table_of(scored: "Scored") -> Table:
    """Return what was scored as a table of one line."""
    days = sorted(scored.days)
    table = Table("version", "days", "from", "to", "rows", "no answer", "seconds", box=None)
    rows = (f"{sum(scored.days.values()):,}", f"{scored.num_unanswered:,}", f"{scored.seconds:.1f}")
    table.add_row(str(scored.version), str(len(days)), days[0], days[-1], *rows)
    return table
