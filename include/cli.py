"""This file is the command `evergreen`."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from include.config import load_pipeline, load_pipelines, pipeline_schema
from include.errors import BackupError, ConfigError, SchemaError, StackError

app = typer.Typer(help="Evergreen keeps machine-learning models fresh.", no_args_is_help=True, add_completion=False)
console = Console()


@app.command()
def status(pipeline: Annotated[str | None, typer.Argument(help="One pipeline; all, if not given.")] = None) -> None:
    """Show every pipeline's champion, newest days, open requests and what the governor last said."""
    from include.status import status_view

    console.print(status_view([load_pipeline(pipeline)] if pipeline else load_pipelines()))


@app.command()
def schema() -> None:
    """Print the JSON schema of a pipeline's YAML, for editors."""
    sys.stdout.write(json.dumps(pipeline_schema(), indent=2) + "\n")


@app.command()
def up() -> None:
    """Start Airflow, the endpoint, MLflow and Spark on this machine, and leave them running."""
    from include.stack import Stack

    stack = Stack()
    with console.status("Starting …"):
        stack.start(detached=True)
        stack.wait_for()
    table = Table(box=None, show_header=False)
    for name, url in stack.urls.items():
        table.add_row(f"[bold]{name}[/]", url, f"user admin, password {stack.password}" if name == "airflow" else "")
    console.print(table)
    console.print("`make down` stops them; their logs are in", stack.data / "logs")


@app.command()
def down() -> None:
    """Stop what `up` started."""
    from include.stack import Stack

    stack = Stack()
    if not stack.is_up():
        console.print("Nothing is running.")
        return
    with console.status("Stopping …"):
        stack.stop()
    console.print("Stopped.")


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
    except (BackupError, ConfigError, SchemaError, StackError) as error:
        console.print(f"[red]✘[/] {error}", soft_wrap=True)
        raise SystemExit(1) from error


if __name__ == "__main__":
    main()
