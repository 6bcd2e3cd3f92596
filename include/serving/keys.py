"""This file keeps the endpoint's keys: who may ask what, how often and until when; of a token only its SHA-256.

A token is 256 random bits, which nobody finds by trying: its hash need be neither slow nor salted, unlike a password's.
"""

import fcntl
import hashlib
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from functools import lru_cache
from pathlib import Path

import limits
from pydantic import AwareDatetime, Field, ValidationError, field_validator

from include import atomic
from include.errors import ConfigError
from include.settings import Settings
from include.spelling import did_you_mean
from include.strict import Strict

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")


class Key(Strict):
    """One token of a caller; while a rotation overlaps, a caller has two."""

    name: str
    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    made_at: AwareDatetime
    expires_at: AwareDatetime | None = None
    rate: str | None = None  # as the library `limits` writes it: 100/second
    pipelines: tuple[str, ...] | None = None  # none: all

    @field_validator("name")
    @classmethod
    def _check_name(cls, name: str) -> str:
        if not _NAME.fullmatch(name):
            raise ValueError("1 to 63 letters, digits, dots, hyphens and underscores, the first a letter or digit")
        return name

    @field_validator("rate")
    @classmethod
    def _check_rate(cls, rate: str | None) -> str | None:
        if rate is not None and not _is_rate(rate):
            raise ValueError(f"'{rate}' is no rate such as 100/second, 20/minute or 5 per 10 minutes")
        return rate

    def is_expired(self, now: datetime) -> bool:
        """Say whether it is no longer good."""
        return self.expires_at is not None and self.expires_at <= now


class Keys(Strict):
    """The whole file."""

    keys: tuple[Key, ...] = ()


def keys_path(settings: Settings) -> Path:
    """Return the file of keys: not beside the declared states, which are every `*.json` there."""
    return settings.serving / "keys" / "keys.json"


@lru_cache(1024)
def digest_of(token: bytes) -> bytes:
    """Return what is compared and kept instead of a token."""
    return hashlib.sha256(token).digest()


def read_keys(settings: Settings) -> tuple[Key, ...]:
    """Return all keys, none if there is no file.

    :raises ConfigError: if the file is there and is not one of keys.
    """
    path = keys_path(settings)
    try:
        return Keys.model_validate_json(path.read_bytes()).keys
    except FileNotFoundError:
        return ()
    except (OSError, ValidationError) as error:
        about = _wrong(error) if isinstance(error, ValidationError) else error
        raise ConfigError(f"{path}: not readable as keys: {about}. Put a former copy back, or remove it.") from None


def add_key(settings: Settings, name: str, *, rate: str | None, pipelines: list[str], now: datetime) -> str:
    """Give a caller a key and return its token, which is kept nowhere.

    :raises ConfigError: if there is one of that name, or the name or the rate cannot be.
    """
    with _changing(settings) as keys:
        if any(key.name == name for key in keys):
            raise ConfigError(f"There is a key '{name}': `evergreen keys rotate {name}` gives it a new token.")
        token, key = _new(name, rate, tuple(pipelines) or None, now)
        keys.append(key)
    return token


def rotate_key(settings: Settings, name: str, *, overlap: timedelta, now: datetime) -> str:
    """Give a key a new token and return it; the tokens before are good until the overlap ends.

    :raises ConfigError: if there is no key of that name.
    """
    with _changing(settings) as keys:
        newest = max(_named(keys, name), key=lambda key: key.made_at)
        token, new = _new(name, newest.rate, newest.pipelines, now)
        ends = now + overlap
        for number, key in enumerate(keys):
            if key.name == name:
                keys[number] = key.model_copy(update={"expires_at": min(key.expires_at or ends, ends)})
        keys[:] = [key for key in keys if key.name != name or not key.is_expired(now)]
        keys.append(new)
    return token


def revoke_key(settings: Settings, name: str) -> int:
    """Make every token of a key worthless at once, and return how many keys are left.

    :raises ConfigError: if there is no key of that name.
    """
    with _changing(settings) as keys:
        _named(keys, name)
        keys[:] = [key for key in keys if key.name != name]
    return len(keys)


def _is_rate(rate: str) -> bool:
    try:
        (found,) = limits.parse_many(rate)
    except ValueError:  # none that can be read, or several
        return False
    return found.amount > 0


def _named(keys: list[Key], name: str) -> list[Key]:
    found = [key for key in keys if key.name == name]
    if not found:
        known = sorted({key.name for key in keys})
        raise ConfigError(f"There is no key '{name}'. Keys: {known}.{did_you_mean(name, known)}")
    return found


def _new(name: str, rate: str | None, pipelines: tuple[str, ...] | None, now: datetime) -> tuple[str, Key]:
    token = secrets.token_urlsafe(32)
    sha256 = digest_of(token.encode()).hex()
    try:
        return token, Key(name=name, sha256=sha256, made_at=now, rate=rate, pipelines=pipelines)
    except ValidationError as error:
        raise ConfigError(f"This cannot be a key. {_wrong(error)}.") from error


def _wrong(error: ValidationError) -> str:
    # Not as pydantic says it, which quotes what it found.
    said = [(".".join(map(str, each["loc"])), each["msg"].removeprefix("Value error, ")) for each in error.errors()]
    return "; ".join(f"{place}: {message}" for place, message in said)


@contextmanager
def _changing(settings: Settings) -> Iterator[list[Key]]:
    path = keys_path(settings)
    path.parent.mkdir(parents=True, mode=0o700, exist_ok=True)
    with path.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # read, change and replace as one step among commands
        keys = list(read_keys(settings))
        yield keys
        with atomic.replacing(path) as temporary:
            temporary.touch(mode=0o600)
            temporary.write_text(Keys(keys=tuple(keys)).model_dump_json(indent=1))
