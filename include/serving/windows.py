"""This file stores counters for the library `limits` in a file, which the worker processes of a machine share."""

import fcntl
import os
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path
from urllib.parse import unquote, urlparse

from limits.aio.storage import Storage

_SLOT = struct.Struct("=16sdQ")  # digest of the key, end of its window (seconds since 1970), count
BUCKETS, SLOTS = 512, 8  # slots in each
_BUCKET_BYTES = SLOTS * _SLOT.size


class OwnWindows(Storage):
    """Counters of fixed windows in this process' memory, for one that shares them with nobody: there are few keys."""

    STORAGE_SCHEME = ["async+own"]

    def __init__(self, uri: str, wrap_exceptions: bool = False, **options: float | str | bool) -> None:
        super().__init__(uri, wrap_exceptions, **options)
        self._windows: dict[str, tuple[float, int]] = {}

    @property
    def base_exceptions(self) -> type[Exception]:
        """Return what is raised where nothing can be counted: nothing is."""
        return OSError

    async def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        """Count in a key's window, or in a new one if it has ended, and return the count."""
        now = time.time()
        ends, count = self._windows.get(key, (0.0, 0))
        if not now < ends <= now + expiry:
            ends, count = now + expiry, 0
        self._windows[key] = (ends, count + amount)
        return count + amount

    async def get(self, key: str) -> int:
        """Return the count in a key's window."""
        ends, count = self._windows.get(key, (0.0, 0))
        return count if ends > time.time() else 0

    async def get_expiry(self, key: str) -> float:
        """Return when a key's window ends, in seconds since 1970; now, if it has none."""
        return max(time.time(), self._windows.get(key, (0.0, 0))[0])

    async def clear(self, key: str) -> None:
        """Forget a key's window."""
        self._windows.pop(key, None)

    async def check(self) -> bool:
        """Say whether it can be used: it can."""
        return True

    async def reset(self) -> int | None:
        """Forget all windows."""
        self._windows.clear()
        return None


class FileWindows(Storage):
    """Counters of fixed windows in a file of 128 kB; one bucket of it is read and one slot written under a lock.

    A key's hash names its bucket. Where more than eight keys share one, the window that ends first is forgotten, which
    lets its caller begin anew. The kernel takes the lock back from who is killed.
    """

    STORAGE_SCHEME = ["async+file"]

    def __init__(self, uri: str, wrap_exceptions: bool = False, **options: float | str | bool) -> None:
        super().__init__(uri, wrap_exceptions, **options)
        self._path = Path(unquote(urlparse(uri).path))
        self._file: int | None = None

    @property
    def base_exceptions(self) -> type[Exception]:
        """Return what is raised where the file cannot be used."""
        return OSError

    async def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        """Count in a key's window, or in a new one if it has ended, and return the count."""
        digest = _digest_of(key)
        with self._locked() as file:
            now = time.time()  # not before the lock is held: another's window would seem to end too late
            offset, ends, count = _find(file, digest)
            # One that ends later than it can was written by a clock that has been put back since.
            if not now < ends <= now + expiry:
                ends, count = now + expiry, 0
            os.pwrite(file, _SLOT.pack(digest, ends, count + amount), offset)
        return count + amount

    async def get(self, key: str) -> int:
        """Return the count in a key's window."""
        return self._look(key)[1]

    async def get_expiry(self, key: str) -> float:
        """Return when a key's window ends, in seconds since 1970; now, if it has none."""
        return self._look(key)[0]

    async def clear(self, key: str) -> None:
        """Forget a key's window."""
        digest = _digest_of(key)
        with self._locked() as file:
            os.pwrite(file, _SLOT.pack(digest, 0.0, 0), _find(file, digest)[0])

    async def check(self) -> bool:
        """Say whether the file can be used."""
        try:
            self._look("")
        except OSError:
            return False
        return True

    async def reset(self) -> int | None:
        """Forget all windows."""
        with self._locked() as file:
            os.pwrite(file, bytes(BUCKETS * _BUCKET_BYTES), 0)
        return None

    def _look(self, key: str) -> tuple[float, int]:
        with self._locked() as file:
            _, ends, count = _find(file, _digest_of(key))
        now = time.time()
        return (ends, count) if ends > now else (now, 0)

    @contextmanager
    def _locked(self) -> Iterator[int]:
        file = self._open()
        fcntl.flock(file, fcntl.LOCK_EX)
        try:
            yield file
        finally:
            fcntl.flock(file, fcntl.LOCK_UN)

    def _open(self) -> int:
        if self._file is None:
            self._path.parent.mkdir(parents=True, mode=0o700, exist_ok=True)
            file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                os.posix_fallocate(file, 0, BUCKETS * _BUCKET_BYTES)
            except OSError:
                os.close(file)
                raise
            self._file = file
        return self._file


@lru_cache(1024)
def _digest_of(key: str) -> bytes:
    return blake2b(key.encode(), digest_size=16).digest()


def _find(file: int, digest: bytes) -> tuple[int, float, int]:
    """Return where a key's slot is, when its window ends (0: it has none) and its count."""
    start = int.from_bytes(digest[:4]) % BUCKETS * _BUCKET_BYTES
    bucket = os.pread(file, _BUCKET_BYTES, start)
    at = bucket.find(digest)
    if at >= 0:
        _, ends, count = _SLOT.unpack_from(bucket, at)
        return start + at, ends, count
    ends = [slot[1] for slot in _SLOT.iter_unpack(bucket)]
    return start + ends.index(min(ends)) * _SLOT.size, 0.0, 0
