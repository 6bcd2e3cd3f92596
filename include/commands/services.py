"""This file is `evergreen up`, `down`, `seed`, `airflow`, `backup` and `restore`: the services and what they keep."""

import os
from pathlib import Path
from typing import Annotated

import typer

from include.commands import console


def up() -> None:
    """Start Airflow, the endpoint, MLflow and Spark on this machine, and leave them running; say where they are."""
    from include.stack import Stack

    stack = Stack()
    with console.status("Starting …"):
        if stack.is_up():
            stack.check_running()
        else:
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


def seed(pipeline: Annotated[str, typer.Argument(help="A pipeline that comes with Evergreen.")]) -> None:
    """Lay a shipped pipeline's real data out in its landing zone: a file of events and one of labels a day."""
    from include.demo import bikes
    from include.demo.flights import Deliveries
    from include.errors import ConfigError
    from include.settings import load_settings

    data = load_settings().data
    if pipeline == "bike_demand":
        num_days = bikes.seed(data)
    elif pipeline == "flight_delays":
        num_days = Deliveries(data).seed(delivered_until="9999")
    else:
        raise ConfigError(f"'{pipeline}' does not come with Evergreen: bike_demand and flight_delays do.")
    console.print(f"{num_days} days in {data / 'landing' / pipeline}; {pipeline}__ingest takes them from there.")


def airflow(context: typer.Context) -> None:
    """Run Airflow's own command line on this installation: `evergreen airflow backfill create --help`."""
    from include.stack import Stack
    from include.stack_environment import BIN

    os.execve(BIN / "airflow", ["airflow", *context.args], Stack().environment)  # noqa: S606 - no shell is wanted


def down() -> None:
    """Stop what `up` started."""
    from include.stack import Stack

    stack = Stack()
    with console.status("Stopping …"):
        num_stopped = stack.stop()
    console.print("Stopped." if num_stopped else "Nothing is running.")


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


def restore(
    path: Annotated[Path, typer.Argument(help="An archive that `backup` has written.")],
    force: Annotated[bool, typer.Option("--force", help="Replace what is there.")] = False,
) -> None:
    """Put an installation back as a backup found it; the services must be stopped."""
    from include.restore import restore as put_back

    manifest = put_back(path, force=force)
    console.print(f"Restored what was backed up at {manifest['made_at']}.")
