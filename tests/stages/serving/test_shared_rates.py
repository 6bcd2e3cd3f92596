"""A real Redis, as two machines would share it."""

import asyncio

from limits import parse
from prometheus_client import CollectorRegistry, Counter

from include.serving.rates import Rates


def test_two_machines_share_a_rate_by_redis(redis_connection, settings):
    there = settings.model_copy(update={"limits_url": f"redis://127.0.0.1:{redis_connection.port}"})
    unchecked = Counter("unchecked", "Let through.", registry=CollectorRegistry())

    async def ask():
        machines = [Rates(there, unchecked) for _ in range(2)]
        return [await machines[number % 2].seconds_to_wait("shop", parse("3/hour")) for number in range(5)]

    waits = asyncio.run(ask())

    assert waits[:3] == [0, 0, 0]
    assert all(3500 < wait <= 3600 for wait in waits[3:])
    assert unchecked._value.get() == 0
