"""This file computes answers to large bodies in threads: a few at once, and nobody waits for one for ever."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from include.errors import BadRequestError

T = TypeVar("T")


class Threads:
    """As many threads as large bodies are computed at once.

    No thread can be stopped from outside: one whose answer nobody waits for any more counts until it ends.

    :param at_once: how many.
    :param seconds: how long an answer is waited for.
    """

    def __init__(self, at_once: int, seconds: float) -> None:
        self._at_once = at_once
        self._seconds = seconds
        self._num_running = 0
        self._pool = ThreadPoolExecutor(at_once, thread_name_prefix="large-request")

    async def run(self, compute: Callable[..., T], *arguments: object) -> T:
        """Return what a function returns, computed in a thread.

        :raises BadRequestError: 503 if all threads are at work, or it takes too long.
        """
        if self._num_running >= self._at_once:
            raise BadRequestError(
                f"{self._at_once} large requests are being computed, as many as may be: send this one again, or split "
                "it.",
                status=503,
                reason="busy",
                headers={"Retry-After": "1"},
            )
        self._num_running += 1
        work = asyncio.get_running_loop().run_in_executor(self._pool, compute, *arguments)
        work.add_done_callback(self._end)
        await asyncio.wait({work}, timeout=self._seconds)
        if not work.done():
            raise BadRequestError(
                f"The answer was not there after {self._seconds:g} s: split the request.",
                status=503,
                reason="compute_time",
            )
        return work.result()

    def _end(self, work: "asyncio.Future[T]") -> None:
        self._num_running -= 1
        if not work.cancelled():
            work.exception()  # has been seen, also where nobody waits for it
