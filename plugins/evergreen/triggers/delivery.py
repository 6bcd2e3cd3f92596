"""This file waits for a day's delivery without occupying a worker."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from include.config import load_pipeline


class DeliveryTrigger(BaseTrigger):
    """Fire when all of a day's files are in the landing zone.

    :param pipeline_name: the pipeline whose delivery it is.
    :param day: the day, YYYY-MM-DD.
    :param poke_seconds: seconds between two looks.
    """

    def __init__(self, pipeline_name: str, day: str, poke_seconds: float = 1.0) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.pipeline_name = pipeline_name
        self.day = day
        self.poke_seconds = poke_seconds

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return what the triggerer needs to make this trigger again."""
        path = f"{type(self).__module__}.{type(self).__qualname__}"
        return path, {"pipeline_name": self.pipeline_name, "day": self.day, "poke_seconds": self.poke_seconds}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Look until the delivery is there."""
        from include.ingestion.files import is_delivered

        pipeline = load_pipeline(self.pipeline_name)
        while not await asyncio.to_thread(is_delivered, pipeline, self.day):
            await asyncio.sleep(self.poke_seconds)
        yield TriggerEvent(self.day)  # type: ignore[no-untyped-call]
