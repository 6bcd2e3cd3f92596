"""This file is the one entry point of training, on every platform: `python -m include.training SPEC`."""

import gc
import logging
import sys
import time
from importlib import import_module

import psutil

log = logging.getLogger("include.training")

BAD_INPUT = 65  # EX_DATAERR of sysexits.h: another try would end the same


# The cheap repairs must not wait for PyTorch to be imported.
MAKERS = {
    "retrain": ("include.training.run", "train"),
    "recalibrate": ("include.repairs.remaking", "recalibrate"),
    "reinstate": ("include.repairs.remaking", "reinstate"),
}


def main(spec_path: str) -> None:
    """Make the model that the spec asks for, unless that was done already."""
    from include.training.spec import read_spec  # noqa: PLC0415 - after the collector was switched off
    from include.training.store import Stopwatch, is_finished  # noqa: PLC0415

    seconds = Stopwatch(imports=round(time.time() - psutil.Process().create_time(), 3))
    spec = read_spec(spec_path)
    if is_finished(spec):
        log.info("%s is there already and unaltered: nothing to train", spec.folder)
        return
    module, name = MAKERS[spec.repair]
    manifest = getattr(import_module(module), name)(spec, seconds)
    log.info(
        "Model %s in %s: %s, seconds %s", manifest["sha256"][:12], spec.folder, manifest["metrics"], manifest["seconds"]
    )


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    if len(sys.argv) != 2:
        sys.exit("usage: python -m include.training SPEC   (SPEC: the JSON file that include.training.plan wrote)")
    # Looking for cyclic garbage among the many objects of a few large libraries took a fifth of this short process.
    gc.disable()
    try:
        main(sys.argv[1])
    except ValueError:
        log.exception("These data or settings cannot be trained with")
        sys.exit(BAD_INPUT)
    gc.freeze()
