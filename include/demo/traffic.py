"""This file asks the endpoint about flights, as a booking site would, and counts answers and failures."""

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pyarrow as pa

from include.settings import load_settings


class Traffic:
    """Requests to the endpoint.

    :param url: base URL of the endpoint.
    :param pipeline_name: the pipeline that is asked.
    :param rows: flights per request.
    """

    def __init__(self, url: str, pipeline_name: str, rows: int = 4) -> None:
        self._rows = rows
        self._http = httpx.Client(base_url=url, timeout=10, headers=load_settings().endpoint_headers, trust_env=False)
        self._path = f"/invocations/{pipeline_name}"
        self.sent = 0
        self.failures: list[str] = []
        self.answers_by_version: Counter[int] = Counter()

    def ask(self, flights: pa.Table) -> None:
        """Ask about every flight, a few a request."""
        for batch in flights.to_batches(max_chunksize=self._rows):
            self._send(batch.to_pylist())

    @contextmanager
    def steady(self, flights: pa.Table) -> Iterator[None]:
        """Go on asking about these flights in the background until the block ends."""
        batches = [batch.to_pylist() for batch in flights.to_batches(max_chunksize=self._rows)]
        ended = threading.Event()

        def go_on() -> None:
            number = 0
            while not ended.wait(0.02):
                self._send(batches[number % len(batches)])
                number += 1

        thread = threading.Thread(target=go_on, name="steady-traffic")
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def _send(self, instances: list[dict[str, Any]]) -> None:
        self.sent += 1
        try:
            answer = self._http.post(self._path, json={"instances": instances})
        except httpx.TransportError as error:
            self.failures.append(repr(error))
            return
        if answer.status_code == httpx.codes.OK:
            self.answers_by_version[answer.json()["version"]] += len(instances)
        else:
            self.failures.append(f"{answer.status_code} {answer.text[:200]}")
