"""This file is the command `evergreen`."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Column, Table

from include.commands import console, keys, onboarding, plan, quarantine, replay, score, services
from include.config import load_pipeline, load_pipelines, pipeline_named, pipeline_schema
from include.errors import (
    ArtefactError,
    BackupError,
    BadDeliveryError,
    ConfigError,
    EndpointError,
    ErasureError,
    NotEnoughDataError,
    PublishError,
    SchemaError,
    SourceUnavailableError,
    StackError,
    StaleReleaseError,
)

app = typer.Typer(help="Evergreen keeps machine-learning models fresh.", no_args_is_help=True, add_completion=False)


@app.command()
def status(pipeline: Annotated[str | None, typer.Argument(help="One pipeline; all, if not given.")] = None) -> None:
    """Show every pipeline's champion, newest days, open requests and what the governor last said."""
    from include.status import broken_view, status_view

    if pipeline:
        console.print(status_view([load_pipeline(pipeline)]))
    else:
        console.print(status_view(load_pipelines()), broken_view())


SHORTEST_REASON = 3  # characters; the DAGs' forms ask for as many

OnePipeline = Annotated[str | None, typer.Argument(help="One pipeline; all, if not given.")]


@app.command()
def why(pipeline: Annotated[str, typer.Argument(help="The pipeline.")]) -> None:
    """Say why there is no new model, why there is this one, and what can be done."""
    from include.why_view import why_view

    console.print(why_view(load_pipeline(pipeline)))


@app.command()
def history(
    pipeline: Annotated[str, typer.Argument(help="The pipeline.")],
    as_json: Annotated[bool, typer.Option("--json", help="As JSON, one object per day and version.")] = False,
    plot: Annotated[Path | None, typer.Option(help="Also draw it: the PNG to write.")] = None,
) -> None:
    """Show each measured day: quality, its estimate, drift weighted by importance, and what has moved."""
    from include import history as measured

    loaded = load_pipeline(pipeline)
    rows = measured.history_of(loaded)
    if as_json:
        sys.stdout.write(json.dumps(rows, indent=1) + "\n")
    else:
        table = measured.history_table(rows, loaded.governor.metric)
        console.print(table if rows else "No day was served and measured yet.")
    if plot:
        plot.write_bytes(measured.history_plot(rows, loaded.governor.metric))


@app.command()
def pause(
    pipeline: OnePipeline = None,
    reason: Annotated[str, typer.Option(help="Why; everybody who asks is told.")] = "no reason given",
) -> None:
    """Stop automatic retraining and promotion at once; what is started by hand still runs."""
    from include import pausing

    console.print(pausing.pause(pipeline_named(pipeline) if pipeline else pausing.EVERYTHING, reason), markup=False)


@app.command()
def resume(pipeline: OnePipeline = None) -> None:
    """Let a paused pipeline, or all of them, act by itself again."""
    from include import pausing

    console.print(pausing.resume(pipeline_named(pipeline) if pipeline else pausing.EVERYTHING), markup=False)


def _said(reason: str) -> str:
    if len(reason) < SHORTEST_REASON:
        raise typer.BadParameter(f"'{reason}' is too short: {SHORTEST_REASON} characters or more.")
    return reason


@app.command()
def rollback(
    pipeline: Annotated[str, typer.Argument(help="The pipeline.")],
    reason: Annotated[str, typer.Option(help="Why; kept with the release.", callback=_said)],
    to: Annotated[int | None, typer.Option(help="Version to put back; the champion before, if not given.")] = None,
) -> None:
    """Put a former champion back behind the endpoint, as the DAG does: also where Airflow is down."""
    from include.rollback import roll_back, told, version_before

    name = pipeline_named(pipeline)
    version = version_before(name, to)
    console.print(told(name, version), markup=False)
    console.print(f"Done: {roll_back(name, reason, version)} serves.", markup=False)


app.add_typer(quarantine.app, name="quarantine")
app.add_typer(keys.app, name="keys")
app.command()(score.score)
app.command()(plan.plan)


@app.command()
def schema(
    markdown: Annotated[bool, typer.Option("--markdown", help="For people: every key with type and default.")] = False,
) -> None:
    """Print the JSON schema of a pipeline's YAML, for editors."""
    if markdown:
        from include.reference import reference

        sys.stdout.write(reference())
    else:
        sys.stdout.write(json.dumps(pipeline_schema(), indent=2) + "\n")


app.command()(onboarding.new)
app.command()(onboarding.validate)
app.command()(onboarding.dry_run)


@app.command()
def erase(
    pipeline: Annotated[str, typer.Argument(help="The pipeline.")],
    key: Annotated[str, typer.Option(help="The subject's value in the pipeline's key column.")],
    yes: Annotated[bool, typer.Option("--yes", help="Really erase; without it, only show what would be.")] = False,
) -> None:
    """Erase one subject from captured predictions and all derived from them (docs/housekeeping.md)."""
    from include.erasure import erase as erase_subject

    outcome = erase_subject(load_pipeline(pipeline), key, really=yes)
    table = Table("what", "rows", Column("where", overflow="fold"), box=None)
    for what, places in (("erased" if yes else "to erase", outcome.erased), ("left", outcome.elsewhere)):
        for where, rows in places.items():
            table.add_row(what, str(rows), where)
    for where in outcome.unread:
        table.add_row("not searched", "?", where)
    console.print(table if table.row_count else "This key is nowhere.")
    if outcome.elsewhere:
        console.print("'left' was delivered, or is a log: docs/housekeeping.md says how it goes.")
    if outcome.unread:
        console.print("'not searched' is cut off, or not what its name says: look for the key there by hand.")


app.command()(replay.replay)
app.command()(replay.calibrate)
app.command()(services.up)
app.command()(services.down)
app.command()(services.seed)
app.command()(services.backup)
app.command()(services.restore)
# What follows is Airflow's to read.
app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []})(
    services.airflow
)


@app.command()
def demo() -> None:
    """Watch a real model go stale and be replaced by itself."""
    from include.demo.run import run_demo

    raise typer.Exit(run_demo(console))


def main() -> None:
    """Run the command line; an error the user can mend is a sentence, not a traceback."""
    try:
        app()
    except (
        ArtefactError,
        BackupError,
        BadDeliveryError,
        ConfigError,
        EndpointError,
        ErasureError,
        NotEnoughDataError,
        PublishError,
        SchemaError,
        SourceUnavailableError,
        StackError,
        StaleReleaseError,
    ) as error:
        console.print(f"[red]✘[/] {escape(str(error))}", soft_wrap=True)
        raise SystemExit(1) from error


if __name__ == "__main__":
    main()
