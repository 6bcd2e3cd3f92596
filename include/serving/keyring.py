"""This file follows the file of keys for a running endpoint, and finds the key that a token belongs to."""

import logging
import time
from dataclasses import dataclass

import limits
from limits import RateLimitItem

from include.errors import BadRequestError, ConfigError
from include.serving.keys import Key, digest_of, keys_path, read_keys
from include.settings import Settings

log = logging.getLogger(__name__)

LOOK_SECONDS = 0.5


@dataclass(frozen=True)
class Held:
    """A key and its rate, ready to be asked for."""

    key: Key
    rate: RateLimitItem | None


class Keyring:
    """The keys as they are in the file, looked at twice a second at most."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._held: dict[bytes, Held] = {}
        self._problem = ""
        self._seen: tuple[int, int, int] | None = None
        self._look_at = 0.0

    def is_needed(self) -> bool:
        """Say whether a key is needed: from the first one on, also when the last one was revoked.

        :raises BadRequestError: if the file of keys was never readable, so that nobody knows.
        """
        if time.monotonic() >= self._look_at:
            self._look_at = time.monotonic() + LOOK_SECONDS
            self._look()
        if self._problem and not self._held:
            raise BadRequestError(
                "Nobody can be let in: the endpoint cannot read its keys. Its log says why.", status=503
            )
        return self._seen is not None

    def find(self, token: bytes) -> Held | None:
        """Return the key of a token, by its hash: how long that takes tells nothing about other tokens."""
        return self._held.get(digest_of(token))

    def _look(self) -> None:
        try:
            found = keys_path(self._settings).stat()
            seen = (found.st_mtime_ns, found.st_size, found.st_ino)
        except FileNotFoundError:
            seen = None
        except OSError as error:
            self._refuse(str(error))
            return
        if seen == self._seen and not self._problem:
            return
        try:
            self._held = {bytes.fromhex(key.sha256): _held(key) for key in read_keys(self._settings)}
            self._seen, self._problem = seen, ""
        except ConfigError as error:
            self._refuse(str(error))

    def _refuse(self, problem: str) -> None:
        if problem != self._problem:
            log.error("The keys that were read before stay: %s", problem)
        self._problem = problem


def _held(key: Key) -> Held:
    return Held(key, limits.parse(key.rate) if key.rate else None)
