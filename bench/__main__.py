"""This file runs every measurement and writes bench/results.json, with date, machine and commit.

Everything is measured in one run, and what is compared is measured in turn: this kind of machine is noisy. A single
measurement can be run again by its name: `python -m bench tax`; the others keep their numbers.
"""

import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console

from bench import (
    admission,
    demo,
    drift,
    estimation,
    history,
    new,
    parsing,
    replay,
    serving,
    stages,
    tax,
    training,
    wake,
)
from bench.record import write_down
from include.stack import Stack, running

RESULTS = Path(__file__).parent / "results.json"
# With the services running; then those that start what they need themselves.
WITH_SERVICES: dict[str, Callable[[Stack], Any]] = {
    "wake": wake.measure,  # first: its requests are to find no data
    "stages": stages.measure,
    "history": history.measure,
    "tax": tax.measure,
}
ALONE: dict[str, Callable[[], Any]] = {
    "parsing": parsing.measure,
    "admission": admission.measure,
    "training": training.measure,
    "serving": serving.measure,
    "drift": drift.measure,
    "estimation": estimation.measure,
    "new": new.measure,
    "demo": demo.measure,
}


def main(wanted: list[str]) -> None:
    """Run the measurements asked for (all, if none is), and write each one down when it is there."""
    chosen = wanted or [*WITH_SERVICES, *ALONE, "replay"]
    with tempfile.TemporaryDirectory(prefix="evergreen-bench-") as folder:
        os.environ["EVERGREEN_DATA"] = folder
        if set(chosen) & set(WITH_SERVICES):
            stack = Stack()
            os.environ.update(stack.environment)
            with running(stack, Console()):
                stack.wait_for()
                for name in (name for name in WITH_SERVICES if name in chosen):
                    write_down(RESULTS, name, WITH_SERVICES[name](stack))
        for name in (name for name in ALONE if name in chosen):
            write_down(RESULTS, name, ALONE[name]())
    if "replay" in chosen:
        replay.measure()  # has a file of its own


if __name__ == "__main__":
    main(sys.argv[1:])
