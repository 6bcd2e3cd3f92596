"""This file is one try of the task `train` as a worker runs it; it may die at a named point: `kill -9`, no warning.

`python -m soak.cloud_worker REQUEST [POINT]`. SIGTERM is what Airflow sends to a task that somebody kills.
"""

import asyncio
import logging
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from importlib import import_module
from typing import Any

from airflow.sdk.exceptions import TaskDeferred
from evergreen.operators import train
from evergreen.operators.train import TrainModelOperator
from evergreen.triggers import job  # noqa: F401 - imported before the fork

from include.platforms import aws, ordering, watching  # noqa: F401

PIPELINE = "rides"
LINES = 3  # of a job's output, after which the one who follows it dies

ORDER = (
    "entered", "sent", "answered", "kept", "waiting", "following",
    "ended", "collecting", "collected", "closed", "cleaning", "cleaned", "done",
)  # fmt: skip
# Where each of them is, and whether it dies before or after that.
POINTS: dict[str, tuple[str, str]] = {
    "entered": ("include.platforms.ordering:Ordered.submit", "before"),
    "sent": ("", ""),  # the platform's stand-in kills: it has done what was asked for, and does not answer
    "answered": ("include.ledger.jobs:keep_detail", "before"),
    "kept": ("include.platforms.ordering:Ordered.submit", "after"),
    "following": ("include.platforms.ordering:Ordered.follow", "within"),
    "ended": ("include.platforms.ordering:Ordered.settle", "before"),
    "collected": ("include.platforms.ordering:Ordered.close", "before"),
    "closed": ("include.platforms.ordering:Ordered.close", "after"),
    "cleaned": ("include.platforms.ordering:clean_up", "after"),
    "done": ("include.platforms.ordering:Ordered.settle", "after"),
}
# Where platforms differ in what they do in between.
OF_PLATFORM: dict[str, dict[str, tuple[str, str]]] = {
    "local": {"sent": ("include.platforms.local:_start", "after")},
    "aws": {
        "waiting": ("evergreen.triggers.job:_look", "after"),
        "collecting": ("include.platforms.aws_files:unpack", "after"),
        "cleaning": ("include.platforms.aws_files:Bucket.remove", "before"),
    },
    "kubernetes": {
        "waiting": ("evergreen.triggers.job:_look", "after"),
        "collecting": ("include.platforms.storage:fetch_folder", "after"),
        "cleaning": ("include.platforms.storage:remove", "before"),
    },
}


def points_of(platform: str) -> list[str]:
    """Return the points at which a try may die, in their order."""
    return [point for point in ORDER if point in POINTS | OF_PLATFORM[platform]]


def main(request_id: str, platform: str, point: str = "") -> None:
    """Run the task."""
    aws.POLL_SECONDS = 0.2
    sys.executable = os.environ.get("SOAK_PYTHON", sys.executable)  # what local trainings are started with
    where, when = (POINTS | OF_PLATFORM[platform]).get(point, ("", ""))
    if where:
        _arm(where, when)
    train.POKE_SECONDS = 0.2
    task = TrainModelOperator(task_id="train", pipeline_name=PIPELINE, request_id=request_id)

    def on_term(*_: object) -> None:
        task.on_kill()
        os._exit(143)

    signal.signal(signal.SIGTERM, on_term)
    run: Callable[[], Any] = partial(task.execute, {})
    while True:
        try:
            return run()
        except TaskDeferred as deferred:
            event = asyncio.run(_first(deferred.trigger.run()))  # as the triggerer waits; it may die, too
            # And another worker goes on, which knows nothing of the one before.
            later = TrainModelOperator(task_id="train", pipeline_name=PIPELINE, request_id=request_id)
            run = partial(later.resume_execution, deferred.method_name, {"event": event.payload}, {})


async def _first(events: AsyncIterator[Any]) -> Any:
    return await anext(events)


def _arm(where: str, when: str) -> None:
    module, _, path = where.partition(":")
    holder: Any = import_module(module)
    *above, name = path.split(".")
    for each in above:
        holder = getattr(holder, each)
    setattr(holder, name, _dying(getattr(holder, name), when))


def _dying(function: Callable[..., Any], when: str) -> Callable[..., Any]:
    def at_once(*_: Any, **__: Any) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def afterwards(*arguments: Any, **named: Any) -> None:
        function(*arguments, **named)
        at_once()

    def within(*arguments: Any, **named: Any) -> Iterator[Any]:
        for number, line in enumerate(function(*arguments, **named), start=1):
            yield line
            if number == LINES:
                at_once()

    return {"before": at_once, "after": afterwards, "within": within}[when]


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    main(*sys.argv[1:])
