"""This file writes and reads the endpoint's declared state: what it is to serve, and by which generation."""

import fcntl
from pathlib import Path

from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from include import atomic
from include.errors import StaleReleaseError
from include.settings import Settings

STRICT = ConfigDict(extra="forbid", strict=True)


@dataclass(frozen=True, config=STRICT)
class Challenger:
    """A version that is tried beside the one in service."""

    version: int
    model_uri: str
    sha256: str
    share: float  # of the requests that it answers, from 0 to 1, chosen by their key; 0: copies of all of them


@dataclass(frozen=True, config=STRICT)
class State:
    """What one pipeline's endpoint is to serve."""

    pipeline: str
    generation: int  # the ledger's fence: larger than any declared before
    version: int
    model_uri: str
    sha256: str
    challenger: Challenger | None = None


_STATES = TypeAdapter(State)


def state_path(settings: Settings, pipeline: str) -> Path:
    """Return the file of a pipeline's declared state."""
    return settings.serving / f"{pipeline}.json"


def read_state(settings: Settings, pipeline: str) -> State | None:
    """Return what is declared for a pipeline; None if nothing is.

    :raises ValueError: if the file is not a whole and valid state.
    """
    path = state_path(settings, pipeline)
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    return _parse(content, path)


def declare(settings: Settings, state: State) -> None:
    """Write a state in one step; what was declared by a newer generation stays.

    :raises StaleReleaseError: if the file already holds a newer generation.
    """
    path = state_path(settings, state.pipeline)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # read, compare and replace as one step among writers
        declared = _declared_generation(settings, state.pipeline)
        if declared > state.generation:
            raise StaleReleaseError(
                f"{path} declares generation {declared}, newer than {state.generation} of version {state.version}: "
                "a later promotion or rollback has overtaken this one. If the ledger was reset, remove that file."
            )
        atomic.write_text(path, _STATES.dump_json(state, indent=1).decode())


def withdraw(settings: Settings, pipeline: str, generation: int) -> None:
    """Take back a state that was declared by this generation, if it is still the one declared."""
    if _declared_generation(settings, pipeline) == generation:
        state_path(settings, pipeline).unlink(missing_ok=True)


def _declared_generation(settings: Settings, pipeline: str) -> int:
    try:
        state = read_state(settings, pipeline)
    except ValueError:
        return -1  # a broken file is worth nothing
    return state.generation if state else -1


def _parse(content: bytes, path: Path) -> State:
    try:
        found = _STATES.validate_json(content)
    except ValidationError as error:
        raise ValueError(f"{path} holds no whole and valid state: {error}") from error
    if found.pipeline != path.stem:
        raise ValueError(f"{path} holds the state of another pipeline, '{found.pipeline}'.")
    return found
