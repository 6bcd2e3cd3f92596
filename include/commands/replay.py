"""This file is `evergreen replay` and `evergreen calibrate`: what a policy would have made of days that are over."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from include.commands import console
from include.config import load_pipeline
from include.errors import ConfigError
from include.partition import check_day

if TYPE_CHECKING:
    from include.pipeline import Pipeline
    from include.replay.history import History

PipelineName = Annotated[str, typer.Argument(help="The pipeline; its clean table must hold the days.")]
First = Annotated[
    str, typer.Option("--from", help="First served day, YYYY-MM-DD; the first model is made of those before.")
]
Last = Annotated[str, typer.Option("--to", help="Last served day, YYYY-MM-DD.")]
Changes = Annotated[
    list[str] | None, typer.Option("--set", help="Another value for a key of the YAML: governor.repairs.retrain=0.02.")
]


def replay(  # noqa: PLR0913  a command's options
    pipeline: PipelineName,
    first: First,
    last: Last,
    policy: Annotated[
        list[str] | None,
        typer.Option(
            help="governor, governor:recalibrate+retrain …, static, every:N, weekly, nightly; may be repeated."
        ),
    ] = None,
    changes: Changes = None,
    shuffle: Annotated[
        int | None, typer.Option(help="Deal the days out anew by this seed: nothing drifts then.")
    ] = None,
    plot: Annotated[Path | None, typer.Option(help="Draw the loss over time into this PNG.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print all numbers and decisions as JSON.")] = False,
) -> None:
    """Live through days that are over under one policy or several, without Airflow, and compare them."""
    from include.replay import report
    from include.replay.changes import with_changes
    from include.replay.history import Models
    from include.replay.policies import policy_of
    from include.settings import load_settings

    names = policy or ["static", "weekly", "governor"]
    chosen = with_changes(load_pipeline(pipeline), changes or [])
    for name in names:
        policy_of(name, chosen)  # refused here, not after the replays of those before it
    history, first, last = _load(chosen, first, last, shuffle)
    if plot:
        _check_plot(plot)
    models = Models(history, load_settings().data / "replay" / pipeline)
    lived = []
    for name in names:
        with console.status(f"[bold]{name}[/] …"):
            lived.append(report.replay(history, models, name, first, last))
    found = {each.policy.name: report.numbers(each.told) for each in lived}
    if plot:
        report.draw(lived, plot)
        _note(f"The loss over time is drawn in {plot.resolve()}")
    if as_json:
        console.print_json(json.dumps({each.policy.name: report.as_dict(each) for each in lived}))
        return
    console.print(report.table_of(found, f"{pipeline}, {first} to {last}"))
    for each in lived:
        for line in report.decisions_of(each):
            console.print(line, markup=False)


def calibrate(
    pipeline: PipelineName,
    first: First,
    last: Last,
    changes: Changes = None,
) -> None:
    """Try the governor's thresholds on days that are over, and say what each would have fired and what came of it.

    Choose on one period and look at another one with `evergreen replay`: what was chosen by looks good where it was
    chosen.
    """
    from include.replay import calibrating
    from include.replay.changes import with_changes
    from include.replay.history import Models
    from include.settings import load_settings

    history, first, last = _load(with_changes(load_pipeline(pipeline), changes or []), first, last)
    models = Models(history, load_settings().data / "replay" / pipeline)
    with console.status("Trying …") as status:
        tried = calibrating.try_all(history, models, first, last, status.update)
    console.print(calibrating.table_of(tried, f"{pipeline}, {first} to {last}"))
    console.print(calibrating.advice(tried, len(history.served(first, last))), markup=False)


def _load(chosen: "Pipeline", first: str, last: str, shuffle: int | None = None) -> "tuple[History, str, str]":
    """Return the history, and the first and last day that there are of those asked for."""
    from include.replay.history import load_history

    check_day(first, "--from")
    check_day(last, "--to")
    if last < first:
        raise ConfigError(f"--from {first} is after --to {last}, expected the first day and the last: swap the two.")
    history = load_history(chosen, first, last, shuffle_seed=shuffle)
    served = history.served(first, last)
    if (served[0], served[-1]) != (first, last):
        _note(
            f"! Asked for {first} to {last}: of these days '{chosen.name}' holds labelled ones from {served[0]} to "
            f"{served[-1]} only."
        )
    return history, served[0], served[-1]


def _check_plot(path: Path) -> None:
    """Open the plot's file before the replay: nobody should wait for a picture that cannot be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.open("ab").close()
    except OSError as error:
        raise ConfigError(
            f"--plot {path} cannot be written ({error.strerror}), expected a PNG to write: name a file in a folder "
            "that you may write to."
        ) from error


def _note(text: str) -> None:
    # Standard output may be JSON for another program.
    typer.echo(text, err=True)
