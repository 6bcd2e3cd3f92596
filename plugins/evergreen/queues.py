"""This file takes messages from queues, and lets a queue forget one only when what it asked for is written down.

Both kinds deliver a message again that was not acknowledged in time: at least once, never lost.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Protocol

from airflow.sdk import Connection

from evergreen.connections import url_of
from include.errors import ConfigError
from include.messages import Message

if TYPE_CHECKING:
    from redis import Redis

AGAIN_SECONDS = 60  # a message that was taken and not acknowledged for so long is delivered again
BATCH = 10  # SQS hands out no more at a time
KINDS = ("aws", "redis")


class Queue(Protocol):
    """Somewhere that messages come from."""

    def receive(self, wait_seconds: int) -> list[Message]:
        """Return some messages, waiting for the first so long; they come again unless they are acknowledged."""

    def acknowledge(self, messages: Iterable[Message]) -> None:
        """Let the queue forget messages."""


def open_queue(connection: Connection, name: str) -> Queue:
    """Return a queue of the service that an Airflow connection names.

    :raises ConfigError: if the connection is of another type, or there is no such queue.
    """
    match connection.conn_type:
        case "redis":
            import redis

            return RedisStream(redis.Redis.from_url(url_of(connection)), name)
        case "aws":
            return SqsQueue(_sqs_client(connection), name)
    raise ConfigError(
        f"Connection '{connection.conn_id}' is of type '{connection.conn_type}'; queues can be of type "
        f"{' or '.join(KINDS)}."
    )


class RedisStream:
    """A Redis stream, read by a consumer group. Senders write `XADD <stream> * body <JSON>`."""

    GROUP = CONSUMER = "evergreen"

    def __init__(self, client: "Redis", name: str) -> None:
        from redis import ResponseError

        self._client: Any = client
        self._name = name
        try:
            self._client.xgroup_create(name, self.GROUP, id="0", mkstream=True)
        except ResponseError as error:
            if not str(error).startswith("BUSYGROUP"):
                raise

    def receive(self, wait_seconds: int) -> list[Message]:
        """Return what was taken and never acknowledged, or else new messages."""
        group = (self._name, self.GROUP, self.CONSUMER)
        found = self._client.xautoclaim(*group, min_idle_time=1000 * AGAIN_SECONDS, start_id="0-0", count=BATCH)[1]
        if not found:
            wait = {"block": 1000 * wait_seconds} if wait_seconds else {}
            answer = self._client.xreadgroup(self.GROUP, self.CONSUMER, {self._name: ">"}, count=BATCH, **wait)
            found = answer[0][1] if answer else []
        return [_message(entry.decode(), fields) for entry, fields in found]

    def acknowledge(self, messages: Iterable[Message]) -> None:
        """Acknowledge messages, and take them off the stream."""
        for message in messages:
            self._client.xack(self._name, self.GROUP, message.receipt)
            self._client.xdel(self._name, message.receipt)


class SqsQueue:
    """An SQS queue, standard or FIFO."""

    def __init__(self, client: Any, name: str) -> None:
        self._client = client
        self._url = name if "://" in name else client.get_queue_url(QueueName=name)["QueueUrl"]

    def receive(self, wait_seconds: int) -> list[Message]:
        """Return messages, and hide them from other readers for a while."""
        answer = self._client.receive_message(
            QueueUrl=self._url,
            MaxNumberOfMessages=BATCH,
            WaitTimeSeconds=wait_seconds,
            VisibilityTimeout=AGAIN_SECONDS,
        )
        found = answer.get("Messages", [])
        return [Message(each["MessageId"], each["Body"], each["ReceiptHandle"]) for each in found]

    def acknowledge(self, messages: Iterable[Message]) -> None:
        """Delete messages."""
        for message in messages:
            self._client.delete_message(QueueUrl=self._url, ReceiptHandle=message.receipt)


def _message(entry: str, fields: dict[bytes, bytes]) -> Message:
    texts = {name.decode(errors="replace"): value.decode(errors="replace") for name, value in fields.items()}
    return Message(entry, texts.get("body", str(texts)), entry)


def _sqs_client(connection: Connection) -> Any:
    # As the provider's own hook does it, roles and all; the hook itself would look the connection up, which a trigger
    # may not do.
    from airflow.providers.amazon.aws.hooks.base_aws import BaseSessionFactory
    from airflow.providers.amazon.aws.utils.connection_wrapper import AwsConnectionWrapper

    wrapped = AwsConnectionWrapper(conn=connection)
    session = BaseSessionFactory(conn=wrapped).create_session()
    return session.client("sqs", endpoint_url=wrapped.get_service_endpoint_url("sqs"), config=wrapped.botocore_config)
