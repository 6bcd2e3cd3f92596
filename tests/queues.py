"""Throw-away queues: Debian's Redis, and moto's SQS; started when a test first asks for them."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import boto3
import pytest
import redis
from airflow.sdk import Connection

from include.demo.airflow_api import wait_until
from include.process import die_with_parent

# `.ci/run` installs Redis and sets this: there, its absence is a failure and not a reason to skip.
REQUIRED = "EVERGREEN_TESTS_NEED_REDIS"
AWS = {"region_name": "eu-central-1", "aws_access_key_id": "test", "aws_secret_access_key": "test"}


@pytest.fixture(scope="session")
def redis_connection(free_ports: Callable[[int], list[int]], tmp_path_factory) -> Iterator[Connection]:
    """A connection to a Redis server of this session's own."""
    if shutil.which("redis-server") is None:
        why = "Redis is not installed: on Debian, apt-get install redis-server."
        if os.environ.get(REQUIRED):
            pytest.fail(why)
        pytest.skip(why)
    (port,) = free_ports(1)
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir"]
    with _running([*command, str(tmp_path_factory.mktemp("redis"))]):
        client = redis.Redis(port=port)
        wait_until(lambda: _answers(client.ping), 30, lambda: f"no Redis at {port}")
        yield Connection(conn_id="retrain_queue", conn_type="redis", host="127.0.0.1", port=port)


@pytest.fixture(scope="session")
def sqs_connection(free_ports: Callable[[int], list[int]]) -> Iterator[Connection]:
    """A connection to a moto server of this session's own."""
    (port,) = free_ports(1)
    url = f"http://127.0.0.1:{port}"
    with _running([str(Path(sys.executable).parent / "moto_server"), "-H", "127.0.0.1", "-p", str(port)]):
        client = boto3.client("sqs", endpoint_url=url, **AWS)
        wait_until(lambda: _answers(client.list_queues), 60, lambda: f"no moto at {url}")
        yield Connection(
            conn_id="retrain_queue",
            conn_type="aws",
            login="test",
            password="test",  # noqa: S106 - moto takes any
            extra=f'{{"region_name": "eu-central-1", "endpoint_url": "{url}"}}',
        )


def make_queue(connection: Connection, name: str) -> str:
    """Make a queue and return its name; Redis makes a stream when it is first written or read."""
    if connection.conn_type == "aws":
        _sqs(connection).create_queue(QueueName=name)
    return name


def send(connection: Connection, name: str, body: str) -> str:
    """Send a message as its senders do, and return its id."""
    if connection.conn_type == "redis":
        return redis.Redis(port=connection.port).xadd(name, {"body": body}).decode()
    client = _sqs(connection)
    return client.send_message(QueueUrl=client.get_queue_url(QueueName=name)["QueueUrl"], MessageBody=body)["MessageId"]


def _sqs(connection: Connection):
    return boto3.client("sqs", endpoint_url=connection.extra_dejson["endpoint_url"], **AWS)


@contextmanager
def _running(command: list[str]) -> Iterator[None]:
    process = subprocess.Popen(
        command,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        preexec_fn=die_with_parent,  # noqa: PLW1509 - one prctl call, no locks
    )
    try:
        yield
    finally:
        process.terminate()
        process.wait()


def _answers(ask: Callable[[], object]) -> bool:
    try:
        ask()
    except Exception:  # noqa: BLE001 - not yet
        return False
    return True
