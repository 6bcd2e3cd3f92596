"""This file is the command `evergreen`."""

import getpass
import json
import logging
import os
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from include.config import load_pipeline, load_pipelines, pipeline_schema
from include.errors import (
    BackupError,
    BadDeliveryError,
    ConfigError,
    ErasureError,
    SchemaError,
    SourceUnavailableError,
    StackError,
)

app = typer.Typer(help="Evergreen keeps machine-learning models fresh.", no_args_is_help=True, add_completion=False)
console = Console()


@app.command()
def status(pipeline: Annotated[str | None, typer.Argument(help="One pipeline; all, if not given.")] = None) -> None:
    """Show every pipeline's champion, newest days, open requests and what the governor last said."""
    from include.status import broken_view, status_view

    if pipeline:
        console.print(status_view([load_pipeline(pipeline)]))
    else:
        console.print(status_view(load_pipelines()), broken_view())


OnePipeline = Annotated[str | None, typer.Argument(help="One pipeline; all, if not given.")]


@app.command()
def why(pipeline: Annotated[str, typer.Argument(help="The pipeline.")]) -> None:
    """Say why there is no new model, why there is this one, and what can be done."""
    from include.why import why_view

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

    console.print(pausing.pause(load_pipeline(pipeline).name if pipeline else pausing.EVERYTHING, reason), markup=False)


@app.command()
def resume(pipeline: OnePipeline = None) -> None:
    """Let a paused pipeline, or all of them, act by itself again."""
    from include import pausing

    console.print(pausing.resume(load_pipeline(pipeline).name if pipeline else pausing.EVERYTHING), markup=False)


quarantine = typer.Typer(help="Rows that broke a rule: list, export, deliver again.", no_args_is_help=True)
app.add_typer(quarantine, name="quarantine")


@quarantine.command("list")
def list_quarantined(
    pipeline: Annotated[str, typer.Argument(help="The pipeline.")],
    day: Annotated[str | None, typer.Option(help="One day, YYYY-MM-DD; all, if not given.")] = None,
    rule: Annotated[str | None, typer.Option(help="One rule; all, if not given.")] = None,
) -> None:
    """Count the rows in quarantine by day and rule, and say where they stand."""
    from include import quarantine as rows

    found = rows.quarantined(load_pipeline(pipeline), day=day, rule=rule)
    console.print(rows.list_view(found) if found else "Nothing is in quarantine.")


@quarantine.command()
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


@quarantine.command()
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


@app.command()
def new(  # noqa: PLR0913  one for each thing that can be said
    name: Annotated[str, typer.Argument(help="The pipeline's name: letters, digits, underscores.")],
    events: Annotated[str, typer.Option(help="Files of what is known when asking, such as 'deliveries/{date}.csv'.")],
    target: Annotated[str, typer.Option(help="Column to predict.")],
    labels: Annotated[str | None, typer.Option(help="Files of what really happened, if they are others.")] = None,
    key: Annotated[str | None, typer.Option(help="Column that names an event; found, if not given.")] = None,
    date: Annotated[str | None, typer.Option(help="Column with the day; found, or the day in the file's name.")] = None,
    owner: Annotated[str, typer.Option(help="Whose it is; shown in Airflow.")] = getpass.getuser(),
    force: Annotated[bool, typer.Option("--force", help="Write over a YAML of this name.")] = False,
) -> None:
    """Look at files and write a commented YAML of a pipeline for them."""
    from include.onboarding import show
    from include.onboarding.guess import Asked
    from include.onboarding.look import located, new

    asked = Asked(name, target, located(events, "--events"), labels and located(labels, "--labels"), key, date, owner)
    with console.status("Looking at the files …"):
        path, seen, guessed = new(asked, is_forced=force)
    console.print(show.findings(seen, guessed), soft_wrap=True)
    console.print(show.next_steps(name, path, seen), soft_wrap=True)


@app.command()
def validate(
    pipeline: str,
    date: Annotated[str | None, typer.Option(help="Delivery to look at; the newest, if not given.")] = None,
) -> None:
    """Hold a pipeline's YAML against one delivery: columns, expressions, expectations, references, connections."""
    from include.onboarding import show
    from include.onboarding.check import check

    loaded = load_pipeline(pipeline)
    with console.status("Checking …"):
        results = check(loaded, date)
    console.print(show.checks(results), soft_wrap=True)
    if any(remedy for *_, remedy in results):
        raise typer.Exit(1)
    console.print(f"{pipeline}.yaml fits its deliveries.")


@app.command()
def dry_run(
    pipeline: str,
    date: Annotated[str, typer.Option(help="The newest day, whose rows are predicted and monitored.")],
    days: Annotated[int | None, typer.Option(min=1, help="How many days up to it; 30 at most, if not given.")] = None,
) -> None:
    """Run every stage on real rows in a temporary folder; nothing is published."""
    from include.onboarding import show
    from include.onboarding.rehearse import Rehearsal, days_to_rehearse

    loaded, is_good = load_pipeline(pipeline), False
    logging.disable(logging.WARNING)
    for stage in Rehearsal(loaded, days_to_rehearse(loaded, date, days)).run():
        console.print(show.stage_lines(stage), soft_wrap=True)
        is_good = stage.is_good
    if not is_good:
        raise typer.Exit(1)
    stages = ", ".join(f"{pipeline}__{stage}" for stage in ("ingest", "monitor", "train", "deploy", "rollback"))
    console.print(f"Nothing of this was kept. The DAGs {stages} will be there in Airflow within 30 s.")


@app.command()
def erase(
    pipeline: Annotated[str, typer.Argument(help="The pipeline.")],
    key: Annotated[str, typer.Option(help="The subject's value in the pipeline's key column.")],
    yes: Annotated[bool, typer.Option("--yes", help="Really erase; without it, only show what would be.")] = False,
) -> None:
    """Erase one subject from captured predictions and all derived from them (docs/housekeeping.md)."""
    from include.erasure import erase as erase_subject

    outcome = erase_subject(load_pipeline(pipeline), key, really=yes)
    table = Table("what", "rows", "where", box=None)
    for what, places in (("erased" if yes else "to erase", outcome.erased), ("left", outcome.elsewhere)):
        for where, rows in places.items():
            table.add_row(what, str(rows), where)
    console.print(table if table.row_count else "This key is nowhere.")
    if outcome.elsewhere:
        console.print("'left' was delivered, or is a log: docs/housekeeping.md says how it goes.")


@app.command()
def up() -> None:
    """Start Airflow, the endpoint, MLflow and Spark on this machine, and leave them running; say where they are."""
    from include.stack import Stack

    stack = Stack()
    with console.status("Starting …"):
        if not stack.is_up():
            stack.start(detached=True)
        stack.wait_for()
    places = {
        "airflow": f"{stack.urls['airflow']}  user admin, password {stack.password}",
        "evergreen's page": f"{stack.urls['airflow']}/evergreen/status  in Airflow's navigation, too",
        "endpoint": f"{stack.urls['endpoint']}/docs  what can be asked",
        "mlflow": f"{stack.urls['mlflow']}/#/models  models and their trainings",
    }
    for name, place in places.items():
        console.print(f"[bold]{name:<16}[/] {place}", soft_wrap=True, highlight=False)
    console.print("`make down` stops them; their logs are in", stack.data / "logs")


@app.command(
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []},
)
def airflow(context: typer.Context) -> None:
    """Run Airflow's own command line on this installation: `evergreen airflow backfill create --help`."""
    from include.stack import BIN, Stack

    os.execve(BIN / "airflow", ["airflow", *context.args], Stack().environment)  # noqa: S606 - no shell is wanted


@app.command()
def down() -> None:
    """Stop what `up` started."""
    from include.stack import Stack

    stack = Stack()
    with console.status("Stopping …"):
        num_stopped = stack.stop()
    console.print("Stopped." if num_stopped else "Nothing is running.")


@app.command()
def backup(
    path: Annotated[Path, typer.Argument(help="The archive to write; one that is there is replaced in one step.")],
    with_data: Annotated[bool, typer.Option(help="Take the lake's data files along.")] = False,
) -> None:
    """Copy ledger, table catalog, models and MLflow into one archive; the services may run meanwhile."""
    from include.backup import back_up

    manifest = back_up(path, with_data=with_data)
    console.print(f"{len(manifest['files'])} files in {path}, {path.stat().st_size / 1e6:.1f} MB.")
    if manifest["needed"]:
        console.print(f"{len(manifest['needed'])} data files stay where they are; --with-data takes them along.")


@app.command()
def restore(
    path: Annotated[Path, typer.Argument(help="An archive that `backup` has written.")],
    force: Annotated[bool, typer.Option("--force", help="Replace what is there.")] = False,
) -> None:
    """Put an installation back as a backup found it; the services must be stopped."""
    from include.restore import restore as put_back

    manifest = put_back(path, force=force)
    console.print(f"Restored what was backed up at {manifest['made_at']}.")


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
        BackupError,
        BadDeliveryError,
        ConfigError,
        ErasureError,
        SchemaError,
        SourceUnavailableError,
        StackError,
    ) as error:
        console.print(f"[red]✘[/] {error}", soft_wrap=True)
        raise SystemExit(1) from error


if __name__ == "__main__":
    main()
