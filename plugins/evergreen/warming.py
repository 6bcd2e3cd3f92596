"""This file has what tasks need imported as soon as the scheduler starts, not when the first task waits for it."""

import multiprocessing
from multiprocessing import forkserver
from typing import Any

from airflow.listeners import hookimpl


@hookimpl
def on_starting(component: Any) -> None:
    """Start the process that workers are forked from, which imports `evergreen.preload`; do not wait for it.

    Airflow itself starts it with the first worker, and its scheduler stands still until the imports are done.

    :param component: Airflow tells of each task that starts as well, in a process that has no use for another.
    """
    is_scheduler = multiprocessing.get_start_method(allow_none=True) == "forkserver"  # it alone is set to that
    if is_scheduler and type(component).__name__ == "Job":  # importing the class takes longer than a task
        forkserver.ensure_running()
