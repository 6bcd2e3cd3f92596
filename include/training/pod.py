"""This file is a training in a pod: `python -m include.training.pod` brings rows, trains, takes the model to storage.

It ends with the exit codes of `python -m include.training`, which it calls.
"""

import logging
import os
import signal
import sys
from pathlib import Path
from types import FrameType

from include import atomic
from include.platforms import storage
from include.training import outcome
from include.training.environment import find_spec, pod
from include.training.spec import Spec

log = logging.getLogger("include.training")


def main(arguments: list[str]) -> int:
    """Make the model that the spec asks for, unless it lies in the storage already, and return the exit code."""
    from include.training.__main__ import main as train

    # Until the training listens itself: process 1 of a container does not end by a SIGTERM that it has not asked for.
    signal.signal(signal.SIGTERM, _end)
    try:
        (uri, scratch), spec = pod(), find_spec(arguments)
    except ValueError:
        log.exception("There is nothing to train")
        return outcome.BAD_INPUT
    if storage.is_whole(f"{uri}/model"):
        log.info("%s/model is there already: nothing to train", uri)
        return 0
    storage.fetch_folder(f"{uri}/input", scratch / "input")
    os.environ["EVERGREEN_PIPELINES"] = str(scratch / "input" / "pipelines")
    spec = placed(spec, uri, scratch)
    path = scratch / "spec.json"
    atomic.write_text(path, spec.model_dump_json())
    code = train([str(path)])
    if code == 0 and spec.folder.exists():  # of several machines the first one has the model
        storage.put_folder(spec.folder, f"{uri}/model")
    return code


def placed(spec: Spec, uri: str, scratch: Path) -> Spec:
    """Return the spec with this pod's folders; what makes the model is the same."""
    inside = {"folder": scratch / "model", "rows": scratch / "input" / "rows", "checkpoints": f"{uri}/checkpoints"}
    return spec.model_copy(update=inside)


def _end(_number: int, _frame: FrameType | None) -> None:
    sys.exit(outcome.RESUME)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    sys.exit(main(sys.argv[1:]))
