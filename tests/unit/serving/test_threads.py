import asyncio
import threading

import pytest

from include.errors import BadRequestError
from include.serving.threads import Threads


def test_an_answer_and_an_error_come_back_from_the_thread():
    async def ask():
        threads = Threads(1, 5)
        assert await threads.run(str.upper, "a") == "A"
        with pytest.raises(ZeroDivisionError):
            await threads.run(divmod, 1, 0)
        return await threads.run(str.upper, "b")

    assert asyncio.run(ask()) == "B"


def test_one_more_than_may_be_is_refused_at_once_and_taken_later():
    is_over = threading.Event()

    async def ask():
        threads = Threads(2, 5)
        working = [asyncio.create_task(threads.run(is_over.wait, 5)) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(BadRequestError) as refused:
            await threads.run(str.upper, "a")
        is_over.set()
        await asyncio.gather(*working)
        return refused.value, await threads.run(str.upper, "a")

    refused, later = asyncio.run(ask())
    assert (refused.status, refused.reason, refused.headers) == (503, "busy", {"Retry-After": "1"})
    assert later == "A"


def test_what_takes_too_long_is_given_up_and_counts_until_it_ends():
    is_over = threading.Event()

    async def ask():
        threads = Threads(1, 0.01)
        with pytest.raises(BadRequestError) as late:
            await threads.run(is_over.wait, 5)
        with pytest.raises(BadRequestError) as busy:
            await threads.run(str.upper, "a")
        is_over.set()
        while threads._num_running:
            await asyncio.sleep(0.001)
        return late.value.reason, busy.value.reason, await threads.run(str.upper, "a")

    assert asyncio.run(ask()) == ("compute_time", "busy", "A")


def test_a_large_request_beyond_the_bound_is_refused_by_the_endpoint(still, monkeypatch):
    rows = [{"ride_id": str(number), "distance": 1.0, "carrier": "AA"} for number in range(2000)]
    assert still.post("/invocations", json={"instances": rows}).status_code == 200
    monkeypatch.setattr(still.app.endpoint.threads, "_at_once", 0)

    refused = still.post("/invocations", json={"instances": rows})

    assert (refused.status_code, refused.headers["Retry-After"]) == (503, "1")
    assert 'evergreen_refusals_total{pipeline="rides",reason="busy"} 1.0' in still.get("/metrics").text
