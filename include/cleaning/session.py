"""This file opens a Spark session: on the warm Spark Connect server, or in this process where none answers."""

import logging
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from pyspark.errors.exceptions.connect import SparkConnectGrpcException
from pyspark.sql import SparkSession

from include.errors import ConfigError
from include.settings import load_settings

log = logging.getLogger(__name__)

LOOPBACK = "127.0.0.1"
OPTIONS = {
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
    # What an expression of the YAML cannot compute for one row is null in that row, not the end of the job.
    "spark.sql.ansi.enabled": "false",
    "spark.sql.shuffle.partitions": "4",
    # Planning again after each stage costs a night more than it saves.
    "spark.sql.adaptive.enabled": "false",
    # What a filter lets follow about other columns helps no rule of ours, and with 60 columns it is sought for minutes.
    "spark.sql.constraintPropagation.enabled": "false",
    # Up to so many files are listed by the driver: a job of their own takes longer on a local disk.
    "spark.sql.sources.parallelPartitionDiscovery.threshold": "10000",
}
# Nights are short: the first compiler alone halves them, as in the server of `make up` (config/supervisord.conf).
JAVA = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"


@contextmanager
def spark_session() -> Iterator[SparkSession]:
    """Give a session on `SPARK_REMOTE` and release it afterwards, or one in this process, which is kept."""
    remote = load_settings().spark_remote
    if remote and _answers(remote):
        # The client sends a token without TLS only to a host of this very name.
        local = remote.replace("//127.0.0.1", "//localhost", 1)
        spark = _connected(local)
        try:
            yield spark
        finally:
            spark.stop()
        return
    where = (remote or "SPARK_REMOTE (not set)").split(";")[0]  # what follows may be a token
    log.warning("No Spark Connect server answers at %s: starting Spark in this process (slower)", where)
    yield local_session()


def _connected(remote: str) -> SparkSession:
    try:
        return _configured(SparkSession.builder.remote(remote)).create()
    except SparkConnectGrpcException as error:
        if "UNAUTHENTICATED" not in str(error):
            raise
        where = remote.split(";")[0]
        raise ConfigError(
            f"The Spark Connect server at {where} takes no one without its token, or has another: set SPARK_REMOTE to "
            f"'{where.rstrip('/')}/;token=TOKEN'. That of `make up` is in run/spark-token of the data folder."
        ) from error


def local_session() -> SparkSession:
    """Return this process's own session; under `spark-submit` the master is the one given there."""
    submitted = "PYSPARK_GATEWAY_PORT" in os.environ
    remote = os.environ.pop("SPARK_REMOTE", None)  # pyspark refuses a master while this variable is set
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)  # else its workers are whatever `python3` is on PATH
    try:
        builder = SparkSession.builder if submitted else SparkSession.builder.master("local[*]")
        builder = builder.config("spark.ui.enabled", "false").config("spark.ui.showConsoleProgress", "false")
        if not submitted:  # the driver would listen at this machine's own address
            builder = builder.config("spark.driver.host", LOOPBACK).config("spark.driver.bindAddress", LOOPBACK)
            builder = builder.config("spark.driver.defaultJavaOptions", JAVA)  # a user's own come after
        return _configured(builder).getOrCreate()
    finally:
        if remote is not None:
            os.environ["SPARK_REMOTE"] = remote


def _configured(builder: SparkSession.Builder) -> SparkSession.Builder:
    for name, value in OPTIONS.items():
        builder = builder.config(name, value)
    return builder


def _answers(remote: str) -> bool:
    """Look before connecting: the Spark client itself would retry for minutes."""
    address = urlsplit(remote.split(";")[0])
    try:
        with socket.create_connection((address.hostname or "", address.port or 15002), timeout=2):
            return True
    except OSError:
        return False
