"""This file is how a training ends: by exit code, by a file for who is not its parent, and with a model or without."""

from pathlib import Path

from include import artefact, atomic
from include.errors import ArtefactError
from include.training.spec import Spec

FAILED = 1
BAD_INPUT = 65  # EX_DATAERR of sysexits.h: another try would end the same
RESUME = 75  # EX_TEMPFAIL: it was asked to end and has saved its state; the next try goes on from there


def write_outcome(path: Path, code: int) -> None:
    """Leave the exit code."""
    atomic.write_text(path, str(code))


def read_outcome(path: Path) -> int:
    """Return the exit code that was left; `FAILED` if the process could not leave one."""
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return FAILED


def is_finished(spec: Spec) -> bool:
    """Tell whether the spec's request already has its model, whole and unaltered."""
    try:
        manifest = artefact.read_manifest(spec.folder)
        artefact.load_session(spec.folder, manifest["sha256"])
    except ArtefactError:
        return False
    return bool(manifest["request_id"] == spec.request_id)
