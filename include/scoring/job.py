"""This file scores a range of published days with Spark: each day's answers become one file, put in place at once."""

import logging
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from uuid import uuid4

import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import types as T  # noqa: N812
from pyspark.sql.pandas.types import from_arrow_schema

from include import lake, published
from include.atomic import writing
from include.cleaning.job import write_days
from include.cleaning.session import spark_session
from include.errors import ConfigError, NotEnoughDataError
from include.partition import check_day, days_around
from include.pipeline import ANSWER_DAY, ANSWER_VERSION, Pipeline
from include.scoring.answers import PARTITION, answers
from include.scoring.scorer import Scorer, scorer_of
from include.scoring.sets import put_in_place
from include.settings import load_settings

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Scored:
    """What was scored, and where it lies."""

    version: int
    days: dict[str, int]  # rows by day
    num_unanswered: int
    seconds: float
    folder: str


def score(pipeline: Pipeline, first: str, last: str, version: int | None = None) -> Scored:
    """Score the published days of a range with a version (the champion, if none is named).

    Each day is one file, `scores/version=N/day=D/scores.parquet`, that a repeated run replaces as a whole.

    :raises ConfigError: if this is no range of days, or the table lacks a column that the model takes.
    :raises NotEnoughDataError: if none of the days is published.
    :raises StaleReleaseError: if there is no such version, or its model was removed.
    :raises ArtefactError: if the model's file is missing or is another one.
    """
    started = time.monotonic()
    check_range(first, last)
    scorer = scorer_of(pipeline, version)
    schema, known = lake.clean_files(pipeline.name)
    needed, files = pick(schema, scorer), within(known, first, last, pipeline.name)
    days = {day: sum(num_rows.values()) for day, num_rows in files.items()}
    folder = load_settings().lake / pipeline.name / "scores" / f"version={scorer.version}"
    aside, brought = (folder.with_name(f".{folder.name}.{uuid4().hex[:8]}") for _ in range(2))
    try:
        paths = published.brought_here([uri for num_rows in files.values() for uri in num_rows], brought)
        with writing(aside), spark_session() as spark:
            rows = answered(spark, paths, needed, scorer)
            write_days(rows.repartition(PARTITION).sortWithinPartitions(PARTITION, scorer.key), aside, PARTITION)
        num_unanswered = put_in_place(pipeline.name, aside, folder, days)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
        shutil.rmtree(brought, ignore_errors=True)
    scored = Scored(scorer.version, days, num_unanswered, time.monotonic() - started, str(folder))
    told = (pipeline.name, scored.version, sum(days.values()), len(days), folder, scored.seconds)
    log.info("%s: version %s has scored %s rows of %s days into %s in %.1f s", *told)
    return scored


def check_range(first: str, last: str) -> None:
    """Refuse what is no range of days.

    :raises ConfigError: saying what it is instead.
    """
    check_day(first, "first")
    check_day(last, "last")
    if last < first:
        raise ConfigError(f"first {first} is after last {last}, expected the first day and the last: swap the two.")


def within(
    known: Mapping[str, Mapping[str, int]], first: str, last: str, pipeline_name: str
) -> dict[str, Mapping[str, int]]:
    """Return those of the published days that are in a range, both ends included.

    :raises NotEnoughDataError: if there are none.
    """
    found = {day: files for day, files in known.items() if first <= day <= last}
    if not found:
        raise NotEnoughDataError(
            f"None of the days {first} to {last} is published in '{pipeline_name}': ingest them, or name others. "
            f"{days_around(first, sorted(known))}"
        )
    return found


def pick(schema: pa.Schema, scorer: Scorer) -> pa.Schema:
    """Return the columns of the clean table that a model takes.

    :raises ConfigError: if one is not there.
    """
    if missing := [name for name in scorer.columns if name not in schema.names]:
        raise ConfigError(
            f"The clean table has no {missing}, which version {scorer.version} takes: derive such columns and ingest "
            f"the days again, or name another version. Columns there: {schema.names}."
        )
    return pa.schema([schema.field(name) for name in scorer.columns])


def answered(spark: SparkSession, paths: Sequence[str], needed: pa.Schema, scorer: Scorer) -> DataFrame:
    """Return the answers to the rows of some files of the clean table."""
    rows = spark.read.schema(from_arrow_schema(needed)).parquet(*paths)
    made = [(ANSWER_DAY, pa.string()), (ANSWER_VERSION, pa.int64()), *scorer.task.fields, (PARTITION, pa.string())]
    schema = T.StructType([rows.schema[scorer.key], *from_arrow_schema(pa.schema(made))])
    return rows.mapInArrow(partial(answers, scorer=scorer), schema)
