"""This file holds a pipeline's YAML against what is there: one delivery, Spark, the expectations, the references."""

import logging
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial

from pyspark.errors import PySparkException
from pyspark.logger import PySparkLogger
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F  # noqa: N812
from pyspark.sql import types as T  # noqa: N812

from include.cleaning import rules
from include.cleaning.job import read_reference
from include.cleaning.session import spark_session
from include.errors import BadDeliveryError, ConfigError, SourceUnavailableError
from include.ingestion import files
from include.ingestion.delivery import columns_of, fetch, source_of
from include.ingestion.reading import MALFORMED, SOURCE_DAY, SOURCE_FILE, SOURCE_ROW, read
from include.partition import check_day, days_around
from include.pipeline import Pipeline
from include.settings import load_connections, load_settings
from include.sources import Files, Http, Sql
from include.spelling import did_you_mean
from include.validation import suite_of

Result = tuple[str, str, str]  # what was checked, what was found, what to do ("" if it is right)

_NUMBERS = (T.LongType, T.DoubleType, T.IntegerType, T.FloatType, T.DecimalType, T.ShortType, T.BooleanType)
_TARGETS = {
    "binary": (T.BooleanType, T.LongType, T.IntegerType, T.DoubleType),
    "multiclass": (T.StringType, T.LongType, T.IntegerType, T.DoubleType),
    "regression": (T.LongType, T.IntegerType, T.DoubleType, T.FloatType, T.DecimalType),
}


def check(pipeline: Pipeline, day: str | None = None) -> list[Result]:
    """Return what was checked, in the order of the YAML: connections, deliveries, expressions, features, expectations.

    :param day: whose delivery to look at; the newest there is, if not given.
    :raises ConfigError: if that is no day.
    """
    if day is not None:
        check_day(day, "--date")
    results = [("YAML", f"{pipeline.name}.yaml loads", ""), *_connections(pipeline)]
    if not any(remedy for *_, remedy in results):
        for kind in ("events", "labels") if pipeline.source.labels else ("events",):
            results += _delivery(pipeline, kind, day)
    results += _references(pipeline)
    for name in ("DataFrameQueryContextLogger", "SQLQueryContextLogger"):
        PySparkLogger.getLogger(name).setLevel(logging.CRITICAL)  # a Java trace for each mistake that is told here
    with spark_session() as spark:
        results += _expressions(spark, pipeline)
    return [*results, *_expectations(pipeline)]


def _connections(pipeline: Pipeline) -> Iterator[Result]:
    for name in sorted(pipeline.source.connections):
        yield _tried(f"connection {name}", partial(_known, name))


def _delivery(pipeline: Pipeline, kind: str, day: str | None) -> Iterator[Result]:
    what = f"source.{kind}"
    try:
        source = source_of(pipeline, kind)
        there = files.days_of(source) if isinstance(source, Files) else []
        yesterday = (datetime.now(UTC) - timedelta(days=1)).date().isoformat()
        looked_at = day or (there[-1] if there else yesterday)
        delivered = fetch(pipeline, kind, looked_at, load_connections(pipeline.source.connections))
        if not delivered:
            yield what, "", f"Nothing is delivered for {looked_at}. {_way_out(what, source, looked_at, there)}"
            return
        wanted = columns_of(pipeline, kind)
        tables = [read(each, looked_at, each.origin, wanted, pipeline.cleaning.optional) for each in delivered]
        rows = sum(len(table) for table in tables)
        yield what, f"{looked_at}: {rows:,} rows, all {len(wanted)} columns of the YAML", ""
    except (BadDeliveryError, ConfigError, SourceUnavailableError) as error:
        yield what, "", str(error)


def _way_out(what: str, source: Files | Sql | Http, day: str, there: list[str]) -> str:
    """Return what to do about a day of which nothing is delivered."""
    if not isinstance(source, Files):
        return f"Name another day with --date, or correct '{what}'."
    if not there:
        return f"Nothing is there for any day: correct '{what}'."
    if day in there:
        return f"Its files are there, but not '{source.marker}': deliver that, or correct '{what}.marker'."
    return f"{days_around(day, there)} Name one of them with --date."


def _references(pipeline: Pipeline) -> Iterator[Result]:
    for name, path in pipeline.source.references.items():
        file = load_settings().data / path
        yield f"source.references.{name}", str(file), "" if file.is_file() else f"{file} is not there. Deliver it."


def _expressions(spark: SparkSession, pipeline: Pipeline) -> Iterator[Result]:
    """Let Spark look at every expression of the YAML in turn, on no rows at all."""
    cleaning = pipeline.cleaning
    rows = _empty(spark, list(cleaning.columns))
    rows = rules.place_in_day(rules.mark_missing(rules.cast_columns(rows, cleaning.columns), pipeline.key), pipeline)
    yield _looked_at("cleaning.deduplicate", partial(rules.mark_duplicates, rows, cleaning.deduplicate))[0]
    for join in cleaning.joins:
        place = f"cleaning.joins.{join.reference}"
        if not (load_settings().data / pipeline.source.references[join.reference]).is_file():
            yield place, "", "its reference is not there, so nothing after it can be looked at"
            return
        reference = read_reference(spark, pipeline, join.reference)
        result, rows = _looked_at(place, partial(rules.join_reference, rows, reference, join), rows)
        yield result
    rows = rules.without_labels(rows, pipeline)
    for name, expression in cleaning.derive.items():
        result, rows = _looked_at(f"cleaning.derive.{name}", partial(rules.derive, rows, {name: expression}), rows)
        yield result
    if cleaning.fill:
        result, rows = _looked_at("cleaning.fill", partial(rules.fill, rows, cleaning.fill), rows)
        yield result
    for name, expression in cleaning.rules.items():
        place = f"cleaning.rules.{name}"
        result, looked = _looked_at(place, partial(_as_rule, rows, expression), rows)
        kind = looked.schema["_rule"].dataType if not result[2] else T.BooleanType()
        is_rule = isinstance(kind, T.BooleanType)
        yield result if is_rule else (place, "", f"'{expression}' is {kind.simpleString()}; a rule is true or false.")
    yield from _learned(pipeline, {field.name: field.dataType for field in rows.schema})


def _learned(pipeline: Pipeline, kinds: dict[str, T.DataType]) -> Iterator[Result]:
    training = pipeline.training
    wanted: list[tuple[str, str, tuple[type, ...], str]] = [
        ("training.target", training.target, _TARGETS[training.task], f"'training.task: {training.task}' cannot learn"),
        *(
            ("training.features.numeric", name, _NUMBERS, "not a number: derive one")
            for name in training.features.numeric
        ),
        *(
            ("training.features", name, (T.StringType,), f"not text: derive `cast({name} as string)`")
            for name in training.features.as_text
        ),
    ]
    wrong = [
        (place, "", f"'{name}' is {kinds[name].simpleString()} in the clean table: {why}.")
        for place, name, fitting, why in wanted
        if name in kinds and not isinstance(kinds[name], fitting)
    ]
    yield from wrong
    if not wrong:
        yield "training", f"target and {len(training.features.names)} features have types to learn from", ""


def _expectations(pipeline: Pipeline) -> Iterator[Result]:
    wrong = 0
    for number, entry in enumerate(pipeline.expectations, 1):
        for name, arguments in entry.items():
            result = _tried(f"expectations {number}, {name}", partial(_suite_name, pipeline, entry))
            column = arguments.get("column")
            if not result[2] and column is not None and column not in pipeline.clean_columns:
                guess = did_you_mean(column, pipeline.clean_columns)
                result = (result[0], "", f"There is no column '{column}' in the clean table.{guess}")
            if result[2]:
                wrong += 1
                yield result
    if not wrong:
        yield "expectations", f"all {len(pipeline.expectations)} are known, with arguments that fit", ""


def _suite_name(pipeline: Pipeline, entry: dict[str, dict[str, object]]) -> str:
    return str(suite_of(pipeline.model_copy(update={"expectations": [entry]})).name)


def _known(connection: str) -> str:
    load_connections([connection])
    return "is known"


def _as_rule(rows: DataFrame, expression: str) -> DataFrame:
    return rows.select(F.expr(expression).alias("_rule"))


def _tried(what: str, work: Callable[[], str]) -> Result:
    try:
        return what, work(), ""
    except (ConfigError, BadDeliveryError, SourceUnavailableError) as error:
        return what, "", str(error)


def _looked_at(
    place: str, work: Callable[[], DataFrame], otherwise: DataFrame | None = None
) -> tuple[Result, DataFrame]:
    """Return what Spark says to an expression, and the rows with it, or those without it if it is wrong."""
    try:
        made = work()
        _ = made.schema  # a Connect server looks at a plan only when it is asked for something
    except PySparkException as error:
        said = str(error.getMessage() or error).split("JVM stacktrace")[0].split(";")[0]
        return (place, "", " ".join(said.split())), otherwise  # type: ignore[return-value]
    return (place, "Spark can read it", ""), made


def _empty(spark: SparkSession, columns: list[str]) -> DataFrame:
    names = [SOURCE_DAY, SOURCE_FILE, MALFORMED, *columns]
    schema = T.StructType(
        [*(T.StructField(name, T.StringType()) for name in names), T.StructField(SOURCE_ROW, T.LongType())]
    )
    return spark.createDataFrame([], schema)
