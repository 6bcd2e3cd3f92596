"""This file is `evergreen quarantine`: bad rows on their round trip."""

from pathlib import Path
from typing import Annotated

import typer

from include.commands import console
from include.config import load_pipeline
from include.partition import check_day

app = typer.Typer(help="Rows that broke a rule: list, export, deliver again.", no_args_is_help=True)


@app.command("list")
def list_quarantined(
    pipeline: Annotated[str, typer.Argument(help="The pipeline.")],
    day: Annotated[str | None, typer.Option(help="One day, YYYY-MM-DD; all, if not given.")] = None,
    rule: Annotated[str | None, typer.Option(help="One rule; all, if not given.")] = None,
) -> None:
    """Count the rows in quarantine by day and rule, and say where they stand."""
    from include import quarantine as rows

    if day is not None:
        check_day(day, "--day")
    loaded = load_pipeline(pipeline)
    if found := rows.quarantined(loaded, day=day, rule=rule):
        console.print(rows.list_view(found))
    else:
        console.print(rows.nothing_found(rows.quarantined(loaded), day, rule), markup=False, soft_wrap=True)


@app.command()
def export(
    pipeline: Annotated[str, typer.Argument(help="The pipeline.")],
    day: Annotated[str, typer.Option(help="The day, YYYY-MM-DD.")],
    to: Annotated[Path, typer.Option(help="The CSV to write.")],
) -> None:
    """Write a day's quarantined rows to a CSV, to be repaired in a spreadsheet."""
    from include import quarantine as rows

    num_rows = rows.export(load_pipeline(pipeline), day, to)
    console.print(
        f"{num_rows} rows are in {to}. Repair them, leave the first columns as they are, delete the rows you cannot "
        f"repair; then: evergreen quarantine redeliver {pipeline} {to}",
        markup=False,
        soft_wrap=True,
    )


@app.command()
def redeliver(
    pipeline: Annotated[str, typer.Argument(help="The pipeline.")],
    file: Annotated[Path, typer.Argument(help="The repaired CSV.")],
) -> None:
    """Deliver repaired rows beside the original delivery, for the day's next ingest."""
    from include import quarantine as rows

    for day, num_rows in rows.redeliver(load_pipeline(pipeline), file).items():
        console.print(
            f"{num_rows} repaired rows of {day} are delivered. Start {pipeline}__ingest by hand with first and last "
            f"{day}: rows that fail again are in quarantine again.",
            markup=False,
            soft_wrap=True,
        )
