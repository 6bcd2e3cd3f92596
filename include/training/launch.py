"""This file starts one training as several processes on this machine, by PyTorch's own launcher."""

import logging
import os
import sys

from include.errors import ConfigError
from include.training.outcome import BAD_INPUT, FAILED, RESUME
from include.training.spec import Spec

log = logging.getLogger(__name__)


def is_rank() -> bool:
    """Tell whether this process is one of those that a launcher has started."""
    return "RANK" in os.environ


def is_shared(spec: Spec) -> bool:
    """Tell whether several processes are to do the work: a cheap repair is done by one."""
    return spec.repair == "retrain" and spec.accelerator.processes > 1


def launch(spec: Spec, arguments: list[str]) -> int:
    """Run `python -m include.training` so often side by side, and return the exit code that they agree on.

    :raises ConfigError: if the framework does not work that way.
    """
    if spec.training.framework != "torch":
        raise ConfigError(
            f"The accelerator asks for {spec.accelerator.processes} processes, which is how PyTorch shares the work of "
            "one machine. Keras uses all GPUs from one process: name a profile with `processes: 1`."
        )
    from torch.distributed.elastic.multiprocessing.api import DefaultLogsSpecs, SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=spec.accelerator.processes,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        run_id=spec.request_id,
        logs_specs=DefaultLogsSpecs(log_dir=os.devnull),  # else a folder stays in /tmp; ranks write into this log
        max_restarts=0,  # Airflow tries again, and goes on where the last checkpoint was
        monitor_interval=0.1,
    )
    try:
        elastic_launch(config, sys.executable)("-u", "-m", "include.training", *arguments)
    except SignalException:
        return RESUME
    except ChildFailedError as error:
        codes = {failure.exitcode for failure in error.failures.values()}
        return next((code for code in (BAD_INPUT, RESUME) if code in codes), FAILED)
    return 0
