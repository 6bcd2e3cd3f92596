"""This file waits for a day's delivery without occupying a worker."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from evergreen.connections import connection_urls_soon
from include.config import load_pipeline
from include.errors import SourceUnavailableError
from include.pipeline import Pipeline


class DeliveryTrigger(BaseTrigger):
    """Fire when all that a night waits for is there.

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
        """Look until the delivery is there; the task itself has looked a moment ago."""
        pipeline = load_pipeline(self.pipeline_name)
        urls = await connection_urls_soon(pipeline)
        is_there = False
        while not is_there:
            # Before the first look, too: a task that could not fetch what is there would come back at once, for hours.
            await asyncio.sleep(self.poke_seconds)
            is_there = await asyncio.to_thread(self._is_there, pipeline, urls)
        yield TriggerEvent(self.day)  # type: ignore[no-untyped-call]

    def _is_there(self, pipeline: Pipeline, urls: dict[str, str]) -> bool:
        from include.ingestion.delivery import is_delivered

        try:
            return is_delivered(pipeline, self.day, urls)
        except SourceUnavailableError as error:
            self.log.warning("Not this time: %s", error)
            return False
