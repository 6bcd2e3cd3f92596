"""This file asks the endpoint without pause from a process of its own, and counts every answer."""

import http.client
import json
import multiprocessing
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count

SENT_OVER_ONE_CONNECTION = 200  # then a new one: perhaps another process takes it
FAILED = "failed"
BROKEN = "broken"  # a connection that ended without an answer, as those of a killed process do; asked again, once


@dataclass
class Load:
    """What a block's requests came to: answers by (status, version), when the block is over."""

    counts: Counter[tuple[str, str]] = field(default_factory=Counter)

    @property
    def requests(self) -> int:
        """Return the number of requests that were answered, or failed."""
        return self.counts.total() - self.counts[BROKEN, ""]

    @property
    def failed(self) -> int:
        """Return the number of requests that got no answer, or another one than 200."""
        return sum(number for (status, _), number in self.counts.items() if status not in {"200", BROKEN})


@contextmanager
def asking(port: int, path: str, rows: list[dict[str, object]], key: str, connections: int = 8) -> Iterator[Load]:
    """Ask about these rows, one a request and each time under another key, for the length of a `with` block."""
    load = Load()
    context = multiprocessing.get_context("spawn")
    ended, found = context.Event(), context.SimpleQueue()
    process = context.Process(target=_ask_until, args=(ended, found, port, path, rows, key, connections), daemon=True)
    process.start()
    try:
        yield load
    finally:
        ended.set()
        load.counts.update(found.get())
        process.join()


def _ask_until(ended, found, port, path, rows, key, connections) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001, PLR0913
    counts: list[Counter[tuple[str, str]]] = [Counter() for _ in range(connections)]
    numbers = count()

    def go_on(mine: Counter[tuple[str, str]]) -> None:
        while not ended.is_set():
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
            for _ in range(SENT_OVER_ONE_CONNECTION):
                number = next(numbers)
                body = json.dumps({"instances": [rows[number % len(rows)] | {key: f"k{number}"}]}).encode()
                if not _ask(connection, path, body, mine):
                    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
                    if not _ask(connection, path, body, mine):
                        mine[FAILED, ""] += 1
            connection.close()

    threads = [threading.Thread(target=go_on, args=(mine,)) for mine in counts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found.put(sum(counts, Counter()))


def _ask(connection: http.client.HTTPConnection, path: str, body: bytes, counts: Counter[tuple[str, str]]) -> bool:
    try:
        connection.request("POST", path, body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        answer.read()
    except (OSError, http.client.HTTPException):
        counts[BROKEN, ""] += 1
        connection.close()
        return False
    counts[str(answer.status), answer.headers.get("X-Evergreen-Version", "")] += 1
    return True
