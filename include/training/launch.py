"""This file starts one training as several processes, on this machine or on several, by PyTorch's own launcher."""

import logging
import os
import sys

from include.errors import ConfigError
from include.training.environment import machines
from include.training.outcome import BAD_INPUT, FAILED, RESUME
from include.training.spec import Spec

log = logging.getLogger(__name__)


def is_rank() -> bool:
    """Tell whether this process is one of those that a launcher has started."""
    return "RANK" in os.environ


def is_shared(spec: Spec) -> bool:
    """Tell whether several processes are to be started: a cheap repair is done by one, Keras has one a machine.

    :raises ConfigError: if there are not as many machines as the accelerator asks for.
    """
    if spec.repair != "retrain":
        return False
    here, asked = machines().count, spec.accelerator
    if here != asked.nodes:
        raise ConfigError(
            f"The accelerator '{spec.training.accelerator}' asks for {asked.nodes} machines, and here are {here}: name "
            "a profile with as many `nodes`, or a platform that has them (aws, kubernetes)."
        )
    return asked.processes > 1 or (asked.nodes > 1 and spec.training.framework == "torch")


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

    here = machines()
    config = LaunchConfig(
        min_nodes=here.count,
        max_nodes=here.count,
        nproc_per_node=spec.accelerator.processes,
        rdzv_backend="static" if here.count > 1 else "c10d",  # static: the first machine has the first process
        rdzv_endpoint=here.meeting,
        rdzv_configs={"rank": here.index} if here.count > 1 else {},
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
