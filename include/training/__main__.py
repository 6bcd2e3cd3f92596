"""This file is the one entry point of training, on every platform: `python -m include.training [SPEC]`.

Without SPEC the spec is taken from the environment (include/training/environment.py). Exit codes: 0 there is a model;
65 these data or settings cannot be trained with; 75 asked to end, start it again to go on; anything else: it failed.
"""

import gc
import logging
import sys
import time
from importlib import import_module
from typing import TYPE_CHECKING

import psutil
from filelock import FileLock

if TYPE_CHECKING:
    from include.training.spec import Spec

log = logging.getLogger("include.training")

# The cheap repairs must not wait for PyTorch to be imported.
MAKERS = {
    "retrain": ("include.training.run", "train"),
    "recalibrate": ("include.repairs.remaking", "recalibrate"),
    "reinstate": ("include.repairs.remaking", "reinstate"),
}


def main(arguments: list[str]) -> int:
    """Make the model that the spec asks for, unless that was done already, and return the exit code."""
    from include.errors import TrainingInterruptedError  # noqa: PLC0415 - after the collector was switched off
    from include.training import launch, outcome  # noqa: PLC0415
    from include.training.environment import find_spec, say_why  # noqa: PLC0415

    spec, code = None, outcome.FAILED
    try:
        spec = find_spec(arguments)
        if launch.is_rank():
            make(spec)
            return 0
        # A training that was thought lost and started again must not go on beside itself.
        spec.work.mkdir(parents=True, exist_ok=True)
        with FileLock(spec.work / "lock"):
            code = launch.launch(spec, arguments) if launch.is_shared(spec) else make(spec)
    except TrainingInterruptedError as interruption:
        log.warning("%s", interruption)
        say_why(str(interruption))
        code = outcome.RESUME
    except ValueError as error:
        log.exception("These data or settings cannot be trained with")
        say_why(str(error))
        code = outcome.BAD_INPUT
    except Exception as error:
        say_why(f"{type(error).__name__}: {error}")
        raise
    finally:
        if spec and not launch.is_rank():
            outcome.write_outcome(spec.work / "outcome", code)
    return code


def make(spec: "Spec") -> int:
    """Make the model in this process, unless it is there already and unaltered."""
    from include.accelerators import use  # noqa: PLC0415
    from include.training.finished import is_finished  # noqa: PLC0415
    from include.training.store import Stopwatch  # noqa: PLC0415

    if is_finished(spec):
        log.info("%s is there already and unaltered: nothing to train", spec.folder)
        return 0
    use(spec.accelerator)
    seconds = Stopwatch(imports=round(time.time() - psutil.Process().create_time(), 3))
    module, name = MAKERS[spec.repair]
    if manifest := getattr(import_module(module), name)(spec, seconds):
        log.info("Model %s in %s: %s", manifest["sha256"][:12], spec.folder, manifest["metrics"])
        log.info("Seconds: %s", manifest["seconds"])
    return 0


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    if len(sys.argv) > 2:
        sys.exit("usage: python -m include.training [SPEC]   (SPEC: the JSON file that include.training.plan wrote)")
    # Looking for cyclic garbage among the many objects of a few large libraries took a fifth of this short process.
    gc.disable()
    code = main(sys.argv[1:])
    gc.freeze()
    sys.exit(code)
