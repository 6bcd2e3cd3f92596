"""This file counts what each key asks for, over all worker processes, and never lets a limit stop the service."""

import asyncio
import logging
import math
import time
from functools import lru_cache
from urllib.parse import urlparse

from limits import RateLimitItem
from limits.aio.storage import Storage
from limits.aio.strategies import FixedWindowRateLimiter
from limits.errors import ConfigurationError
from limits.storage import storage_from_string
from prometheus_client import Counter

from include.errors import ConfigError
from include.serving.keys import keys_path
from include.serving.windows import FileWindows, OwnWindows
from include.settings import Settings

log = logging.getLogger(__name__)

CHECK_SECONDS = 0.25
RETRY_SECONDS = 1.0


class Rates:
    """Windows of a fixed length: within one, a key may ask so often; around the end of one, twice that may pass.

    :param unchecked: counts requests that were let through because nothing could be counted.
    :param is_alone: no other process of this machine serves: nobody has to be told.
    """

    def __init__(self, settings: Settings, unchecked: Counter, *, is_alone: bool = False) -> None:
        self._storage = _storage(settings, is_alone=is_alone)
        self._limiter = FixedWindowRateLimiter(self._storage)
        self._patience = CHECK_SECONDS if settings.limits_url else None  # a file answers at once, or fails
        self._unchecked = unchecked
        self._is_down = False
        self._retry_at = 0.0

    async def seconds_to_wait(self, name: str, rate: RateLimitItem) -> int:
        """Count a request of a key; return 0, or if it is one too many, the seconds until its window ends."""
        if time.monotonic() < self._retry_at:
            self._unchecked.inc()
            return 0
        try:
            if self._patience is None:
                wait = await self._count(name, rate)
            else:
                async with asyncio.timeout(self._patience):
                    wait = await self._count(name, rate)
        except Exception as error:  # noqa: BLE001  whatever is wrong with the counting, requests are answered
            self._let_through(error)
            return 0
        if self._is_down:
            log.info("Rates are limited again.")
        self._is_down = False
        return wait

    async def _count(self, name: str, rate: RateLimitItem) -> int:
        # The strategy's `hit` does this, and makes the window's name each time, which takes longer than to count.
        if await self._storage.incr(_window_of(rate, name), rate.get_expiry()) <= rate.amount:
            return 0
        ends = (await self._limiter.get_window_stats(rate, name)).reset_time
        return max(1, math.ceil(ends - time.time()))

    def _let_through(self, error: Exception) -> None:
        if not self._is_down:
            log.error("Rates cannot be limited, every request is let through: %s: %s", type(error).__name__, error)
        self._is_down = True
        self._retry_at = time.monotonic() + RETRY_SECONDS
        self._unchecked.inc()


@lru_cache(1024)
def _window_of(rate: RateLimitItem, name: str) -> str:
    return rate.key_for(name)


def _storage(settings: Settings, *, is_alone: bool) -> Storage:
    if not settings.limits_url and is_alone:
        return OwnWindows("async+own://")
    if not settings.limits_url:
        return FileWindows(keys_path(settings).with_name("windows").as_uri())
    scheme = urlparse(settings.limits_url).scheme
    options = {"implementation": "redispy"} if scheme.startswith("redis") else {}
    try:
        storage = storage_from_string(f"async+{settings.limits_url}", **options)
    except ConfigurationError as error:
        raise ConfigError(
            f"EVERGREEN_LIMITS_URL: '{scheme}://' cannot be used; a Redis is named as redis://host:port. Its client is "
            "here, others have to be installed."
        ) from error
    return storage  # type: ignore[return-value]  # every async+ scheme gives one of these
