"""This file stores counters for the library `limits` in a file, which the worker processes of a machine share."""

import fcntl
import hashlib
import os
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote, urlparse

from limits.aio.storage import Storage

_SLOT = struct.Struct("=16sdQ")  # digest of the key, end of its window (seconds since 1970), count
SLOTS_A_BUCKET, BUCKETS = 8, 512
_BUCKET_BYTES = SLOTS_A_BUCKET * _SLOT.size
_EMPTY = (bytes(16), 0.0, 0)

Slots = list[tuple[bytes, float, int]]


class FileWindows(Storage):
    """Counters of fixed windows in a file of 128 kB, one bucket read and written under a lock.

    A counter is found by its key's hash: where more than eight live ones share a bucket, the one that ends first is
    forgotten, which lets its caller begin anew. The kernel takes the lock back from who is killed.
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
        digest, now = _digest_of(key), time.time()
        with self._bucket(digest) as slots:
            at = _find(slots, digest)
            count, ends = slots[at][2], slots[at][1]
            # One that ends later than it can was written by a clock that has been put back since.
            if slots[at][0] != digest or not now < ends <= now + expiry:
                count, ends = 0, now + expiry
            slots[at] = digest, ends, count + amount
        return count + amount

    async def get(self, key: str) -> int:
        """Return the count in a key's window."""
        return self._look(key)[2]

    async def get_expiry(self, key: str) -> float:
        """Return when a key's window ends, in seconds since 1970; now, if it has none."""
        return self._look(key)[1]

    async def clear(self, key: str) -> None:
        """Forget a key's window."""
        digest = _digest_of(key)
        with self._bucket(digest) as slots:
            at = _find(slots, digest)
            if slots[at][0] == digest:
                slots[at] = _EMPTY

    async def check(self) -> bool:
        """Say whether the file can be used."""
        try:
            self._look("")
        except OSError:
            return False
        return True

    async def reset(self) -> int | None:
        """Forget all windows."""
        os.pwrite(self._open(), bytes(BUCKETS * _BUCKET_BYTES), 0)
        return None

    def _look(self, key: str) -> tuple[bytes, float, int]:
        digest, now = _digest_of(key), time.time()
        with self._bucket(digest) as slots:
            found = slots[_find(slots, digest)]
        return found if found[0] == digest and found[1] > now else (digest, now, 0)

    @contextmanager
    def _bucket(self, digest: bytes) -> Iterator[Slots]:
        file = self._open()
        offset = int.from_bytes(digest[:4]) % BUCKETS * _BUCKET_BYTES
        fcntl.flock(file, fcntl.LOCK_EX)
        try:
            content = os.pread(file, _BUCKET_BYTES, offset)
            slots = list(_SLOT.iter_unpack(content))
            yield slots
            changed = b"".join([_SLOT.pack(*slot) for slot in slots])
            if changed != content:
                os.pwrite(file, changed, offset)
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


def _digest_of(key: str) -> bytes:
    return hashlib.blake2b(key.encode(), digest_size=16).digest()


def _find(slots: Slots, digest: bytes) -> int:
    for number, slot in enumerate(slots):
        if slot[0] == digest:
            return number
    return min(range(len(slots)), key=lambda number: slots[number][1])
