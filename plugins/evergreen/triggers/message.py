"""This file waits for messages of a queue without occupying a worker."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import asdict
from typing import Any

from airflow.sdk import Connection
from airflow.triggers.base import BaseTrigger, TriggerEvent

from evergreen.queues import Queue, open_queue

LOOK_SECONDS = 10
# Airflow may fail a task whose trigger fires while its worker still says goodbye (apache/airflow#71580).
SETTLE_SECONDS = 1.0
AGAIN_SECONDS = 10.0
PATIENCE = 30  # failed looks in a row, before people hear of it


class MessageTrigger(BaseTrigger):
    """Fire with the first messages that come; nothing is acknowledged here.

    :param connection_id: Airflow connection of the queue's service.
    :param queue: the queue's name there.
    """

    def __init__(self, connection_id: str, queue: str) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.connection_id = connection_id
        self.queue = queue

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return what the triggerer needs to make this trigger again."""
        path = f"{type(self).__module__}.{type(self).__qualname__}"
        return path, {"connection_id": self.connection_id, "queue": self.queue}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Look until there are messages; or, after many failed looks, say what is wrong."""
        await asyncio.sleep(SETTLE_SECONDS)
        failed, problem, queue = 0, "", None
        while failed < PATIENCE:
            try:
                queue = queue or await self._open()
                if messages := await asyncio.to_thread(queue.receive, LOOK_SECONDS):
                    found = [asdict(message) for message in messages]
                    yield TriggerEvent({"messages": found})  # type: ignore[no-untyped-call]
                    return
                failed = 0
            except Exception as error:  # noqa: BLE001 - whatever it is may be gone at the next look
                failed, problem, queue = failed + 1, f"{type(error).__name__}: {error}", None
                self.log.warning("Cannot look into queue '%s': %s", self.queue, problem)
                await asyncio.sleep(AGAIN_SECONDS)
        yield TriggerEvent({"problem": problem})  # type: ignore[no-untyped-call]

    async def _open(self) -> Queue:
        connection = await Connection.async_get(self.connection_id)
        return await asyncio.to_thread(open_queue, connection, self.queue)
