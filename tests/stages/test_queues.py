"""Messages of real queues: delivered at least once, forgotten when acknowledged, and no sooner."""

import asyncio
from uuid import uuid4

import pytest

from include.demo.airflow_api import wait_until
from include.errors import ConfigError
from tests.queues import make_queue, send


@pytest.fixture(params=["redis_connection", "sqs_connection"])
def connection(request):
    return request.getfixturevalue(request.param)


@pytest.fixture
def name(connection):
    """A queue that is there and empty."""
    return make_queue(connection, f"retrain-{uuid4().hex[:8]}")


@pytest.fixture
def queues():
    from evergreen import queues

    return queues


def test_what_is_not_acknowledged_comes_again(queues, connection, name, monkeypatch):
    monkeypatch.setattr(queues, "AGAIN_SECONDS", 1)
    sent = [send(connection, name, f"body {number}") for number in range(3)]
    queue = queues.open_queue(connection, name)

    first = queue.receive(1)
    again = []
    wait_until(lambda: len(again.extend(queue.receive(0)) or again) >= 3, 10, lambda: f"only {again}")

    assert sorted(message.id for message in first) == sorted(sent)
    assert {(message.id, message.body) for message in again} == {(message.id, message.body) for message in first}


def test_what_is_acknowledged_does_not_come_again(queues, connection, name, monkeypatch):
    monkeypatch.setattr(queues, "AGAIN_SECONDS", 1)
    kept, forgotten = send(connection, name, "kept"), send(connection, name, "forgotten")
    queue = queues.open_queue(connection, name)

    queue.acknowledge([message for message in queue.receive(1) if message.id == forgotten])
    again = []
    wait_until(lambda: again.extend(queue.receive(0)) or again, 10, lambda: "nothing came again")

    assert [message.id for message in again] == [kept]


def test_an_empty_queue_has_nothing_and_says_so_at_once_or_after_the_wait(queues, connection, name):
    queue = queues.open_queue(connection, name)

    assert queue.receive(0) == queue.receive(1) == []


def test_a_message_that_comes_late_fires_the_trigger_and_is_not_acknowledged(connection, name, monkeypatch):
    from evergreen.triggers import message as triggers

    async def known(_) -> object:
        return connection

    monkeypatch.setattr(triggers.Connection, "async_get", known)
    monkeypatch.setattr(triggers, "SETTLE_SECONDS", 0)
    trigger = triggers.MessageTrigger("retrain_queue", name)

    async def watch() -> tuple[bool, str, dict]:
        waiting = asyncio.ensure_future(anext(trigger.run()))
        await asyncio.sleep(0.3)
        too_early = waiting.done()
        sent = await asyncio.to_thread(send, connection, name, "late")
        return too_early, sent, (await asyncio.wait_for(waiting, 20)).payload

    too_early, sent, payload = asyncio.run(watch())

    assert not too_early
    assert [(each["id"], each["body"]) for each in payload["messages"]] == [(sent, "late")]


def test_a_connection_of_another_type_is_refused_in_words(queues):
    from airflow.sdk import Connection

    with pytest.raises(ConfigError, match="'shop' is of type 'postgres'; queues can be of type aws or redis"):
        queues.open_queue(Connection(conn_id="shop", conn_type="postgres"), "retrain")
