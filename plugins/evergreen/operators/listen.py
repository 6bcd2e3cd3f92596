"""This file takes messages from a queue and wakes the trainings they ask for."""

from typing import Any

from airflow.sdk import BaseOperator, Connection

from evergreen.queues import open_queue
from evergreen.triggers.message import MessageTrigger
from include.assets import assets_of
from include.errors import SourceUnavailableError
from include.messages import Message

ROUNDS = 100  # batches in one run: its log and its events stay of a size


class TakeMessagesOperator(BaseOperator):
    """Wait, deferred, for messages; file what they ask for; acknowledge them; wake the trainings. In this order.

    Killed before the acknowledgement, the messages come again and file nothing twice; killed after it, `sweep` wakes
    what this task has not.

    :param connection_id: Airflow connection of the queue's service.
    :param queue: the queue's name there.
    :param pipeline_names: the pipelines that listen to it.
    """

    def __init__(self, *, connection_id: str, queue: str, pipeline_names: list[str], **kwargs: Any) -> None:
        super().__init__(outlets=[assets_of(name).retrain for name in pipeline_names], **kwargs)
        self.connection_id = connection_id
        self.queue = queue
        self.pipeline_names = pipeline_names

    def execute(self, context: Any) -> int:  # noqa: ARG002 - Airflow's signature
        """Wait for messages."""
        self.defer(trigger=MessageTrigger(self.connection_id, self.queue), method_name="take")

    def take(self, context: Any, event: dict[str, Any]) -> int:
        """Take what has come, and what else is there by then; return how many messages that was.

        :raises SourceUnavailableError: if the queue could not be looked into.
        """
        from include import messages

        if "problem" in event:
            raise SourceUnavailableError(
                f"Queue '{self.queue}' of connection '{self.connection_id}' cannot be read: {event['problem']}. "
                "Messages wait there; mend the connection or the queue."
            )
        queue = open_queue(Connection.get(self.connection_id), self.queue)
        batch, number = [Message(**each) for each in event["messages"]], 0
        for _ in range(ROUNDS):
            for name, request_ids in messages.take(self.queue, self.pipeline_names, batch).items():
                context["outlet_events"][assets_of(name).retrain].add_partitions(request_ids)
            queue.acknowledge(batch)
            number += len(batch)
            if not (batch := queue.receive(0)):
                break
        self.log.info("Took %s messages from '%s'", number, self.queue)
        return number
