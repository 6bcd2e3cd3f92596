"""This file is `evergreen new`, `validate` and `dry-run`: from files to a pipeline."""

import getpass
import logging
from typing import Annotated

import typer

from include.commands import console
from include.config import load_pipeline


def new(  # noqa: PLR0913  one for each thing that can be said
    name: Annotated[str, typer.Argument(help="The pipeline's name: lower-case letters, digits, underscores.")],
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


def validate(
    pipeline: str,
    date: Annotated[str | None, typer.Option(help="Delivery to look at; the newest, if not given.")] = None,
) -> None:
    """Hold a pipeline's YAML against one delivery: columns, expressions, expectations, references, connections."""
    from include.onboarding import show
    from include.onboarding.check import check
    from include.stack import on_services

    loaded = load_pipeline(pipeline)
    on_services()
    with console.status("Checking …"):
        results = check(loaded, date)
    console.print(show.checks(results), soft_wrap=True)
    if any(remedy for *_, remedy in results):
        raise typer.Exit(1)
    console.print(f"{pipeline}.yaml fits its deliveries.")


def dry_run(
    pipeline: str,
    date: Annotated[str, typer.Option(help="The newest day, whose rows are predicted and monitored.")],
    days: Annotated[int | None, typer.Option(min=1, help="How many days up to it; 30 at most, if not given.")] = None,
) -> None:
    """Run every stage on real rows in a temporary folder; nothing is published."""
    from include.onboarding import show
    from include.onboarding.aside import days_to_rehearse
    from include.onboarding.rehearse import Rehearsal
    from include.stack import on_services

    loaded, is_good = load_pipeline(pipeline), False
    on_services()
    logging.disable(logging.WARNING)
    for stage in Rehearsal(loaded, days_to_rehearse(loaded, date, days)).run():
        console.print(show.stage_lines(stage), soft_wrap=True)
        is_good = stage.is_good
    if not is_good:
        raise typer.Exit(1)
    stages = ", ".join(
        f"{pipeline}__{stage}" for stage in ("ingest", "monitor", "train", "deploy", "rollback", "score")
    )
    console.print(f"Nothing of this was kept. The DAGs {stages} will be there in Airflow within 30 s.")
