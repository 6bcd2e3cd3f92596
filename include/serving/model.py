"""This file loads declared versions, warms them and swaps them in, and keeps the old ones when a new one is bad."""

import hashlib
import logging
import random
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from include.artefact import features_of, load_session, predict, read_manifest
from include.config import load_pipeline
from include.learning.kinds import task_of
from include.learning.task import Task
from include.pipeline import Pipeline
from include.recipe import Features
from include.serving.metrics import Metrics
from include.serving.seen import Seen, seen_in_training
from include.serving.state import Challenger, State, read_state, state_path
from include.settings import Settings

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

log = logging.getLogger(__name__)

POLL_SECONDS = 0.1
RETRY_SECONDS = 2.0


@dataclass(frozen=True)
class Served:
    """One loaded version; a request holds on to the one it began with, so nothing is lost in a swap."""

    pipeline: str
    version: int
    sha256: str
    model_uri: str
    key: str
    date: str
    target: str
    features: Features
    task: Task
    session: "InferenceSession"

    @cached_property
    def seen(self) -> dict[str, Seen]:
        """Return what training has seen, by column."""
        return seen_in_training(self.model_uri, self.features)


@dataclass(frozen=True)
class Service:
    """What is in service of one pipeline: its declared state, with the versions that it names loaded."""

    state: State
    champion: Served
    challenger: Served | None = None

    def answering(self, key: object) -> Served:
        """Return the version that answers a request, always the same one for one key."""
        declared = self.state.challenger
        if self.challenger is None or declared is None or not is_chosen(declared, key):
            return self.champion
        return self.challenger

    @property
    def shadow(self) -> Served | None:
        """Return the version that is given copies, if there is one."""
        declared = self.state.challenger
        return self.challenger if declared is not None and declared.share == 0 else None


def is_chosen(challenger: Challenger, key: object) -> bool:
    """Return whether a request belongs to the challenger's share: by its key, each challenger choosing others.

    :param key: none is nobody's: such requests are dealt out by chance.
    """
    if not 0 < challenger.share < 1:
        return challenger.share >= 1
    if key is None:
        return random.random() < challenger.share  # noqa: S311 - nothing secret
    mark = hashlib.blake2b(f"{challenger.version}:{key}".encode(errors="replace"), digest_size=4).digest()
    return int.from_bytes(mark) < challenger.share * 2**32


def load(settings: Settings, pipeline_name: str, version: int, model_uri: str, sha256: str) -> Served:
    """Load a version and ask it once, so that the first request is not the slow one.

    :raises ArtefactError: if the file is missing or is not the one declared.
    """
    manifest = read_manifest(model_uri)
    features, task = features_of(manifest), task_of(manifest)
    session = load_session(model_uri, sha256)
    predict(session, {name: [None] for name in features.names}, features)
    named = _columns_of(manifest) or _columns_by_yaml(load_pipeline(pipeline_name, settings.pipelines))
    return Served(pipeline_name, version, sha256, model_uri, features=features, task=task, session=session, **named)


def _columns_of(manifest: Mapping[str, Any]) -> dict[str, str]:
    """Return what a model says of its rows: serving must not wait for a YAML that somebody has just broken."""
    return {name: manifest[name] for name in ("key", "date", "target")} if "key" in manifest else {}


def _columns_by_yaml(pipeline: Pipeline) -> dict[str, str]:
    """Return what older models do not say themselves."""
    return {"key": pipeline.key, "date": pipeline.date, "target": pipeline.training.target}


class Models:
    """The versions in service, by pipeline; a thread follows the declared states.

    :param tell: is told after every look that changed something.
    """

    def __init__(self, settings: Settings, metrics: Metrics, tell: Callable[["Models"], None]) -> None:
        self._settings = settings
        self._metrics = metrics
        self._tell = tell
        self._services: dict[str, Service] = {}
        self._errors: dict[str, str] = {}
        self._seen: dict[str, tuple[int, int, int]] = {}
        self._retry_at: dict[str, float] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="declared-states", daemon=True)

    def start(self) -> None:
        """Load what is declared now, then follow changes."""
        self.refresh()
        self._tell(self)
        self._thread.start()

    def stop(self) -> None:
        """Stop following."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(timeout=10)

    def service(self, pipeline: str) -> Service | None:
        """Return what is in service of a pipeline."""
        return self._services.get(pipeline)

    def known(self) -> list[str]:
        """Return the pipelines that are served or should be."""
        return sorted({*self._services, *self._errors})

    def is_known(self, pipeline: str) -> bool:
        """Return whether a pipeline is served or should be."""
        return pipeline in self._services or pipeline in self._errors

    def errors(self) -> dict[str, str]:
        """Return why a declared state is not in service, by pipeline."""
        return dict(self._errors)

    def as_told(self) -> dict[str, Any]:
        """Return what is in service, by pipeline, as `/ping` says it."""
        return {name: _as_told(service.state) for name, service in sorted(self._services.items())}

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
                before = (dict(self._services), self.errors())
                self.refresh()
                if (self._services, self._errors) != before:
                    self._tell(self)
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
        old = self._services.get(state.pipeline)
        champion = self._loaded(old, state.pipeline, state)
        challenger = self._loaded(old, state.pipeline, state.challenger) if state.challenger else None
        self._services[state.pipeline] = Service(state, champion, challenger)
        self._errors.pop(state.pipeline, None)
        log.info("%s: in service: %s, generation %s.", state.pipeline, _as_told(state), state.generation)
        self._metrics.version.labels(state.pipeline).set(state.version)
        self._metrics.generation.labels(state.pipeline).set(state.generation)

    def _loaded(self, old: Service | None, pipeline: str, wanted: State | Challenger) -> Served:
        """Return a version as it is loaded already, under whatever role, or load it."""
        mark = (wanted.version, wanted.model_uri, wanted.sha256)
        for known in (old.champion, old.challenger) if old else ():
            if known and (known.version, known.model_uri, known.sha256) == mark:
                return known
        return load(self._settings, pipeline, *mark)

    def _refuse(self, pipeline: str, error: Exception) -> None:
        message = f"{type(error).__name__}: {error}"
        if self._errors.get(pipeline) != message:
            log.error("%s: the declared state cannot be served, the old version stays. %s", pipeline, message)
        self._errors[pipeline] = message
        self._retry_at[pipeline] = time.monotonic() + RETRY_SECONDS
        self._metrics.state_errors.labels(pipeline).inc()


def _as_told(state: State) -> dict[str, Any]:
    told: dict[str, Any] = {"version": state.version, "generation": state.generation}
    if state.challenger:
        told["challenger"] = {"version": state.challenger.version, "share": state.challenger.share}
    return told
