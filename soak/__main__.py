"""This file runs the long trials and writes what came of them into bench/soak.json: `python -m soak [NAME …]`."""

import json
import signal
import sys
from collections.abc import Callable
from typing import Any

from bench.record import write_down
from include.settings import ROOT
from soak import cloud, events, fuzz, kills, reliability, rollout, year

RESULTS = ROOT / "bench" / "soak.json"
TRIALS: dict[str, Callable[[], dict[str, Any]]] = {
    "fuzz": fuzz.measure,
    "year": year.measure,
    "events": events.measure,
    "rollout": rollout.measure,
    "kills": kills.measure,
    "cloud": cloud.measure,
}


def main(wanted: list[str]) -> None:
    """Run the trials asked for (all, if none is), and write each one down when it is over, or when it was stopped."""
    for number in (signal.SIGINT, signal.SIGTERM):  # a shell's background job ignores the first by default
        signal.signal(number, signal.default_int_handler)
    for name in wanted or TRIALS:
        write_down(RESULTS, name, TRIALS[name]())
        reliability.write_page(json.loads(RESULTS.read_text()))


if __name__ == "__main__":
    main(sys.argv[1:])
