"""This file is `evergreen replay` and `evergreen calibrate`: what a policy would have made of days that are over."""

import json
from pathlib import Path
from typing import Annotated

import typer

from include.commands import console
from include.config import load_pipeline

PipelineName = Annotated[str, typer.Argument(help="The pipeline; its clean table must hold the days.")]
First = Annotated[
    str, typer.Option("--from", help="First served day, YYYY-MM-DD; the first model is made of those before.")
]
Last = Annotated[str, typer.Option("--to", help="Last served day.")]
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
    from include.replay.history import Models, load_history
    from include.settings import load_settings

    history = load_history(with_changes(load_pipeline(pipeline), changes or []), first, last, shuffle_seed=shuffle)
    models = Models(history, load_settings().data / "replay" / pipeline)
    lived = []
    for name in policy or ["static", "weekly", "governor"]:
        with console.status(f"[bold]{name}[/] …"):
            lived.append(report.replay(history, models, name, first, last))
    found = {each.policy.name: report.numbers(each.told) for each in lived}
    if plot:
        report.draw(lived, plot)
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
    from include.settings import load_settings

    chosen = with_changes(load_pipeline(pipeline), changes or [])
    with console.status("Trying …") as status:
        tried = calibrating.try_all(chosen, first, last, load_settings().data / "replay" / pipeline, status.update)
    console.print(calibrating.table_of(tried))
    console.print(calibrating.advice(tried), markup=False)
