import asyncio
import multiprocessing
import time

import pytest
from limits import parse
from limits.aio.strategies import FixedWindowRateLimiter

from include.serving import windows
from include.serving.windows import FileWindows


def limiter_on(path):
    return FixedWindowRateLimiter(FileWindows(path.as_uri()))


def hit_often(path, number, barrier, answers):
    limiter, rate = limiter_on(path), parse("1000/hour")
    barrier.wait(60)
    answers.put(asyncio.run(_hits(limiter, rate, number)))


async def _hits(limiter, rate, number):
    return sum([await limiter.hit(rate, "shop") for _ in range(number)])


@pytest.fixture
def path(tmp_path):
    return tmp_path / "a folder #1" / "windows"


def test_two_processes_share_one_limit_to_the_last_request(path):
    context = multiprocessing.get_context("fork")
    barrier, answers = context.Barrier(2), context.Queue()
    workers = [context.Process(target=hit_often, args=(path, 800, barrier, answers)) for _ in range(2)]
    for worker in workers:
        worker.start()
    passed = [answers.get(timeout=60) for _ in workers]
    for worker in workers:
        worker.join(60)

    assert sum(passed) == 1000, "1600 were asked"
    assert min(passed) > 0


def test_a_window_ends_and_the_next_one_begins_with_nothing(path, monkeypatch):
    limiter, rate = limiter_on(path), parse("2/minute")
    now = 1_000_000.0
    monkeypatch.setattr(time, "time", lambda: now)
    assert asyncio.run(_hits(limiter, rate, 5)) == 2
    assert asyncio.run(limiter.get_window_stats(rate, "shop")).reset_time == now + 60

    now += 59.9
    assert asyncio.run(_hits(limiter, rate, 5)) == 0
    now += 0.2
    assert asyncio.run(_hits(limiter, rate, 5)) == 2


def test_a_clock_that_is_put_back_holds_nobody_up_for_years(path, monkeypatch):
    limiter, rate = limiter_on(path), parse("2/minute")
    now = 1_000_000.0
    monkeypatch.setattr(time, "time", lambda: now)
    asyncio.run(_hits(limiter, rate, 5))

    now -= 10_000
    assert asyncio.run(_hits(limiter, rate, 5)) == 2


def test_callers_that_share_a_bucket_do_not_share_a_limit(path, monkeypatch):
    monkeypatch.setattr(windows, "BUCKETS", 1)
    limiter, rate = limiter_on(path), parse("2/hour")

    async def ask_all():
        return [[await limiter.hit(rate, str(caller)) for caller in range(8)] for _ in range(3)]

    assert asyncio.run(ask_all()) == [[True] * 8, [True] * 8, [False] * 8]


def test_of_too_many_callers_in_a_bucket_the_one_that_ends_first_is_forgotten(path, monkeypatch):
    monkeypatch.setattr(windows, "BUCKETS", 1)
    storage = FileWindows(path.as_uri())

    async def ask_all():
        for number in range(9):
            await storage.incr(str(number), 1000 + number)
        return [await storage.get(str(number)) for number in range(9)]

    assert asyncio.run(ask_all()) == [0, *[1] * 8]


def test_windows_can_be_cleared_one_by_one_and_all_together(path):
    limiter, rate = limiter_on(path), parse("1/hour")

    async def clear():
        await limiter.hit(rate, "a")
        await limiter.hit(rate, "b")
        await limiter.clear(rate, "a")
        first = await limiter.test(rate, "a"), await limiter.test(rate, "b")
        await limiter.storage.reset()
        return first, await limiter.test(rate, "b")

    assert asyncio.run(clear()) == ((True, False), True)


def test_a_file_that_cannot_be_is_found_out(path, no_room):
    with no_room():
        assert not asyncio.run(FileWindows(path.as_uri()).check())
    assert asyncio.run(FileWindows(path.as_uri()).check())
    assert path.stat().st_mode & 0o777 == 0o600
