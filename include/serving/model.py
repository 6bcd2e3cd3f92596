"""This file loads declared versions, warms them and swaps them in, and keeps the old one when the new one is bad."""

import logging
import threading
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from include.artefact import features_of, load_session, predict, read_manifest
from include.config import load_pipeline
from include.learning.kinds import task_of
from include.learning.task import Task
from include.recipe import Features
from include.serving.metrics import Metrics
from include.serving.state import State, read_state, state_path
from include.settings import Settings

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

log = logging.getLogger(__name__)

POLL_SECONDS = 0.1
RETRY_SECONDS = 2.0


@dataclass(frozen=True)
class Served:
    """One loaded version; a request holds on to the one it began with, so nothing is lost in a swap."""

    state: State
    key: str
    date: str
    features: Features
    task: Task
    session: "InferenceSession"


def load(settings: Settings, state: State) -> Served:
    """Load a declared version and ask it once, so that the first request is not the slow one.

    :raises ArtefactError: if the file is missing or is not the one declared.
    """
    pipeline = load_pipeline(state.pipeline, settings.pipelines)
    manifest = read_manifest(state.model_uri)
    features, task = features_of(manifest), task_of(manifest)
    session = load_session(state.model_uri, state.sha256)
    predict(session, {name: [None] for name in features.names}, features)
    return Served(state=state, key=pipeline.key, date=pipeline.date, features=features, task=task, session=session)


class Models:
    """The versions loaded, by pipeline; a thread follows the declared states."""

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        self._settings = settings
        self._metrics = metrics
        self._served: dict[str, Served] = {}
        self._errors: dict[str, str] = {}
        self._seen: dict[str, tuple[int, int, int]] = {}
        self._retry_at: dict[str, float] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="declared-states", daemon=True)

    def start(self) -> None:
        """Load what is declared now, then follow changes."""
        self.refresh()
        self._thread.start()

    def stop(self) -> None:
        """Stop following."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(timeout=10)

    def served(self, pipeline: str) -> Served | None:
        """Return the version of a pipeline that is in service."""
        return self._served.get(pipeline)

    def known(self) -> list[str]:
        """Return the pipelines that are served or should be."""
        return sorted({*self._served, *self._errors})

    def errors(self) -> dict[str, str]:
        """Return why a declared state is not in service, by pipeline."""
        return dict(self._errors)

    def refresh(self) -> None:
        """Look once at every declared state and take up those that changed or failed a while ago."""
        for path in sorted(self._settings.serving.glob("*.json")):
            try:
                self._look_at(path.stem)
            except OSError as error:
                self._refuse(path.stem, error)

    def _watch(self) -> None:
        while not self._stop.wait(POLL_SECONDS):
            try:
                self.refresh()
            except Exception:  # the thread must outlive any surprise; the versions in service stay
                log.exception("Looking at the declared states failed; the versions in service stay.")

    def _look_at(self, pipeline: str) -> None:
        found = state_path(self._settings, pipeline).stat()
        seen = (found.st_mtime_ns, found.st_size, found.st_ino)
        is_due = pipeline in self._errors and time.monotonic() >= self._retry_at[pipeline]
        if seen == self._seen.get(pipeline) and not is_due:
            return
        self._seen[pipeline] = seen
        try:
            state = read_state(self._settings, pipeline)
            if state:
                self._take_up(state)
        except Exception as error:  # noqa: BLE001  whatever is wrong with the new version, the old one goes on
            self._refuse(pipeline, error)

    def _take_up(self, state: State) -> None:
        old = self._served.get(state.pipeline)
        if old and replace(old.state, generation=state.generation) == state:
            new = replace(old, state=state)  # the same model under a new fence
        else:
            new = load(self._settings, state)
            log.info("%s: version %s is in service, generation %s.", state.pipeline, state.version, state.generation)
        self._served[state.pipeline] = new
        self._errors.pop(state.pipeline, None)
        self._metrics.version.labels(state.pipeline).set(state.version)
        self._metrics.generation.labels(state.pipeline).set(state.generation)

    def _refuse(self, pipeline: str, error: Exception) -> None:
        message = f"{type(error).__name__}: {error}"
        if self._errors.get(pipeline) != message:
            log.error("%s: the declared state cannot be served, the old version stays. %s", pipeline, message)
        self._errors[pipeline] = message
        self._retry_at[pipeline] = time.monotonic() + RETRY_SECONDS
        self._metrics.state_errors.labels(pipeline).inc()
