"""This file starts the services, tells the story, writes the summary, and stops the services."""

import json
import os
import signal
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape

from include.atomic import write_text
from include.demo.memory import PeakMemory
from include.demo.story import PIPELINE, Story
from include.demo.summary import broken_promises, summarise, summary_table
from include.errors import StackError
from include.settings import load_settings
from include.stack import Stack, running

KEPT_BESIDE = "before-"


def run_demo(console: Console) -> int:
    """Run the demo from beginning to end and return the exit code: 0 only if the loop closed."""
    for number in (
        signal.SIGINT,
        signal.SIGTERM,
    ):  # `kill` tidies up as Ctrl-C does, also in the background of a script
        signal.signal(number, signal.default_int_handler)
    began = time.monotonic()
    data = load_settings().data
    aside = _make_room(data, console)
    try:
        with PeakMemory() as memory:
            summary = _live(console)
    except KeyboardInterrupt:
        console.print("[yellow]Interrupted[/]: the services are stopped, nothing is left running.")
        _say_how_to_go_back(data, aside, console)
        return 130
    summary |= {"wall_seconds": round(time.monotonic() - began, 1), "peak_pss_mb": round(memory.megabytes)}
    broken = broken_promises(summary)
    summary["loop_closed"] = not broken
    write_text(data / "demo" / "summary.json", json.dumps(summary, indent=2) + "\n")
    console.print(summary_table(summary))
    console.print(f"Written to {data / 'demo' / 'summary.json'}.")
    console.print("To look around in Airflow, MLflow and the reports: [bold]make up[/]; begin with Evergreen's page.")
    _say_how_to_go_back(data, aside, console)
    for promise in broken:
        console.print(f"[red]✘[/] {escape(promise)}")
    return 1 if broken else 0


def _live(console: Console) -> dict[str, Any]:
    stack = Stack()
    os.environ.update(stack.environment)  # this process asks the same ledger, endpoint and Spark as the tasks do
    with running(stack, console):
        story = Story(stack, console)
        story.tell()
        return summarise(story)


def _make_room(data: Path, console: Console) -> Path | None:
    """Move what earlier demos have left out of the way, and return where to: the demo deletes nothing.

    :raises StackError: if the services cannot start, or if the folder holds somebody's own data.
    """
    if Stack().is_up():
        raise StackError("Evergreen's services are running, and the demo wants to start its own: `make down` first.")
    Stack().check()
    if (there := load_settings().lake_url) is not None:
        raise StackError(f"The demo is told in a folder, and EVERGREEN_LAKE is {there}: unset it for the demo.")
    if strangers := sorted(path.name for path in (data / "landing").glob("*") if path.name != PIPELINE):
        raise StackError(
            f"{data} holds deliveries of {', '.join(strangers)}, and the demo begins with an empty folder. Give it one "
            "of its own: `EVERGREEN_DATA=demo-data make demo`."
        )
    left = [path for path in data.glob("*") if not path.name.startswith(KEPT_BESIDE)]
    if not left:
        return None
    aside = data / f"{KEPT_BESIDE}{datetime.now(UTC):%Y%m%dT%H%M%S}"
    aside.mkdir(parents=True)
    for path in left:
        path.rename(aside / path.name)
    console.print(f"What was in {data} is now in {aside}; `make clean` removes both.")
    return aside


def _say_how_to_go_back(data: Path, aside: Path | None, console: Console) -> None:
    if aside:
        away = data.with_name(f"{data.name}-demo")
        console.print(
            "To have the data from before this demo back: "
            f"make down && mv {data} {away} && mv {away / aside.name} {data}",
            soft_wrap=True,
        )
