"""This file waits for a job on another machine without occupying a worker, and stops it if a person ends the task."""

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from include.errors import ConfigError, PlatformRefusedError

if TYPE_CHECKING:
    from include.platforms.base import Status

PATIENCE = 12  # failed looks in a row, before the task says what is wrong: with the backoff about an hour
LONGEST_SECONDS = 300.0  # between two looks


class JobTrigger(BaseTrigger):
    """Fire when a job has ended, or cannot be looked at; one whose lease is over is stopped on the way.

    :param name: the attempt's name in the ledger, which is the job's.
    :param poke_seconds: seconds between two looks.
    """

    def __init__(self, name: str, poke_seconds: float) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.name = name
        self.poke_seconds = poke_seconds

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return what the triggerer needs to make this trigger again."""
        path = f"{type(self).__module__}.{type(self).__qualname__}"
        return path, {"name": self.name, "poke_seconds": self.poke_seconds}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Look until there is something for the task to do."""
        failed, told = 0, ""
        while failed < PATIENCE:
            # Before the first look, too: Airflow may fail a task whose trigger fires while its worker still says
            # goodbye (apache/airflow#71580).
            await asyncio.sleep(min(self.poke_seconds * 2**failed, LONGEST_SECONDS))
            try:
                status = await asyncio.to_thread(_look, self.name)
            except (PlatformRefusedError, ConfigError):
                break  # the task meets the same, and says it
            except Exception as error:  # noqa: BLE001 - whatever it is may be gone at the next look
                failed += 1
                self.log.warning("Cannot see %s, which goes on: %s", self.name, error)
                continue
            failed = 0
            if status.state != "running":
                break
            if status.reason != told:
                told = status.reason
                self.log.info("%s: %s", self.name, told)
        yield TriggerEvent(self.name)  # type: ignore[no-untyped-call]

    async def on_kill(self) -> None:
        """Stop the job: a person has cleared its task, or set its state. A restart of the triggerer does not call this.

        Airflow calls it, too, where another triggerer has taken over from one that was slow: then the task still waits.
        """
        if await asyncio.to_thread(self._is_waited_for):
            self.log.info("%s goes on: its task still waits for it", self.name)
            return
        await asyncio.to_thread(_stop, self.name)

    def _is_waited_for(self) -> bool:
        from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

        ti: Any = self.task_instance
        states = RuntimeTaskInstance.get_task_states(dag_id=ti.dag_id, task_ids=[ti.task_id], run_ids=[ti.run_id])
        return bool(states.get(ti.run_id, {}).get(ti.task_id) == "deferred")


def _look(name: str) -> "Status":
    from include.platforms.watching import look

    return look(name)


def _stop(name: str) -> None:
    from include.platforms.watching import stop

    stop(name, "the task was killed")
