"""This file keeps a training's state where another process finds it: the newest whole one counts.

A checkpoint is a NumPy archive without pickles: nothing in it can run. Each array has a CRC-32, which reading checks.
"""

import json
import logging
import time
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import PurePosixPath
from typing import Any
from uuid import uuid4

import numpy as np
import numpy.typing as npt

from include.filesystems import filesystem_of

log = logging.getLogger(__name__)

KEPT = 2  # the newest, and one in case it is broken
STATE = "state.json"

Arrays = Mapping[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class Checkpoint:
    """Where a training was after so many steps."""

    step: int
    arrays: dict[str, npt.NDArray[Any]]
    state: dict[str, Any]

    def under(self, prefix: str) -> dict[str, npt.NDArray[Any]]:
        """Return the arrays whose name begins with a prefix and a stroke, by the rest of it."""
        whole = f"{prefix}/"
        return {name.removeprefix(whole): array for name, array in self.arrays.items() if name.startswith(whole)}


class Checkpoints:
    """The checkpoints of one training in a folder, which those of other recipes may share.

    :param uri: a local path, or any URI that fsspec opens.
    :param recipe: what the weights depend on; a checkpoint of another recipe is neither read nor removed.
    :param every_seconds: how long a step may go unsaved.
    """

    def __init__(self, uri: str, recipe: str, every_seconds: float) -> None:
        self._files, folder = filesystem_of(uri)
        self._folder = folder
        # In the name: the steps of two recipes do not compare, and those of one that failed may be the higher ones.
        self._ending = f".{sha256(recipe.encode()).hexdigest()[:16]}.npz"
        self._every = every_seconds
        self._saved_at = time.monotonic()
        self.seconds = 0.0  # spent on saving

    def is_due(self) -> bool:
        """Tell whether the last one was long enough ago."""
        return time.monotonic() - self._saved_at >= self._every

    def save(self, step: int, arrays: Arrays, state: Mapping[str, Any]) -> None:
        """Keep the state after a step; a reader sees all of it or nothing."""
        began = time.monotonic()
        self._files.makedirs(self._folder, exist_ok=True)
        path, part = f"{self._folder}/step-{step:09}{self._ending}", f"{self._folder}/.{uuid4().hex}.part"
        told = json.dumps({"step": step, **state}).encode()
        with self._files.open(part, "wb") as file:
            np.savez(file, allow_pickle=False, **{STATE: np.frombuffer(told, dtype=np.uint8), **arrays})
        self._files.mv(part, path)
        for older in [path for path in self._paths() if path.endswith(self._ending)][KEPT:]:
            self._files.rm(older)
        self._saved_at = time.monotonic()
        self.seconds += self._saved_at - began
        log.info("Saved step %s in %.2f s", step, self._saved_at - began)

    def newest(self) -> Checkpoint | None:
        """Return the newest whole checkpoint of this training; broken ones and those of another are passed over."""
        for path in self._paths():
            if not path.endswith(self._ending):
                log.warning("%s is another recipe's: not used", path)
                continue
            try:
                with self._files.open(path, "rb") as file, np.load(file, allow_pickle=False) as archive:
                    arrays = {name: archive[name] for name in archive.files}
                state = json.loads(arrays.pop(STATE).tobytes())
            except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile, zlib.error) as error:
                log.warning("%s is broken (%s: %s): an older one is looked for", path, type(error).__name__, error)
                continue
            log.info("Go on from step %s (%s)", state["step"], PurePosixPath(path).name)
            return Checkpoint(state.pop("step"), arrays, state)
        return None

    def _paths(self) -> list[str]:
        self._files.invalidate_cache()
        if not self._files.exists(self._folder):
            return []
        names = [str(path) for path in self._files.ls(self._folder, detail=False)]
        return sorted((name for name in names if name.endswith(".npz")), reverse=True)
