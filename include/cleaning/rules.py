"""This file holds the cleaning rules: pure functions from DataFrame to DataFrame, the same on Connect and in-process.

Rows carry two columns of their own until the end: `_delivered`, the row as text, and `_broken`, the names of the rules
it broke with commas between, null if none. Rows that broke none are clean; the others go to the quarantine.
"""

from collections.abc import Mapping

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F  # noqa: N812

from include.ingestion.reading import MALFORMED, SOURCE_DAY, SOURCE_FILE, SOURCE_ROW
from include.pipeline import Deduplicate, Join, Pipeline

DELIVERED, BROKEN = "_delivered", "_broken"


def cast_columns(rows: DataFrame, types: Mapping[str, str]) -> DataFrame:
    """Give every column its type; text that is none of that type breaks `type:<column>`, and so does NaN."""
    cast = {name: F.expr(f"try_cast({_quoted(name)} as {kind})") for name, kind in types.items()}
    for name, kind in types.items():
        if kind == "double":
            cast[name] = F.when(~(F.isnan(cast[name]) | (F.abs(cast[name]) == float("inf"))), cast[name])
    failed = {
        f"type:{name}": F.col(_quoted(name)).isNotNull() & cast[name].isNull()
        for name, kind in types.items()
        if kind != "string"
    }
    return rows.select(
        *(F.col(name) for name in (SOURCE_DAY, SOURCE_FILE, SOURCE_ROW, MALFORMED)),
        F.struct(*(F.col(_quoted(name)) for name in types)).alias(DELIVERED),
        _names_of({MALFORMED: F.col(MALFORMED).isNotNull(), **failed}).alias(BROKEN),
        *(column.alias(name) for name, column in cast.items()),
    )


def mark_missing(rows: DataFrame, column: str) -> DataFrame:
    """Break `missing:<column>` where an indispensable column is empty; a value of a wrong type is not missing."""
    empty = F.col(MALFORMED).isNull() & F.col(f"{DELIVERED}.{_quoted(column)}").isNull()
    return mark_broken(rows, {f"missing:{column}": empty})


def place_in_day(rows: DataFrame, pipeline: Pipeline) -> DataFrame:
    """Hold each row's date against its delivery's day; where rows bring none, the delivery's day is their date."""
    if pipeline.date not in pipeline.cleaning.columns:
        return rows.withColumn(pipeline.date, F.to_date(SOURCE_DAY))
    return mark_wrong_day(mark_missing(rows, pipeline.date), pipeline.date)


def mark_wrong_day(rows: DataFrame, date: str) -> DataFrame:
    """Break `wrong_day` where a row belongs to another day than the delivery it came with."""
    return mark_broken(rows, {"wrong_day": F.col(_quoted(date)) != F.to_date(SOURCE_DAY)})


def mark_duplicates(rows: DataFrame, deduplicate: Deduplicate) -> DataFrame:
    """Break `duplicate` in all but the first row, in the given order, of those alike within one day's delivery.

    Rows that are broken already do not compete: a broken row never pushes a good one out.
    """
    alike = ", ".join(_quoted(name) for name in (SOURCE_DAY, *deduplicate.by))
    order = ", ".join((*deduplicate.order, SOURCE_FILE, SOURCE_ROW))
    place = F.expr(f"row_number() over (partition by {alike}, {BROKEN} is null order by {order})")
    ranked = rows.withColumn("_place", place)
    return mark_broken(ranked, {"duplicate": (F.col("_place") > 1) & (F.col(BROKEN).isNull())}).drop("_place")


def mark_rules(rows: DataFrame, rules: Mapping[str, str]) -> DataFrame:
    """Break each rule whose expression is false; an expression that is null (a value is missing) breaks nothing."""
    return mark_broken(rows, {name: ~F.expr(expression) for name, expression in rules.items()})


def mark_broken(rows: DataFrame, conditions: Mapping[str, Column]) -> DataFrame:
    """Add the names whose condition is true to the row's broken rules."""
    return rows.withColumn(BROKEN, _names_of(conditions, F.col(BROKEN))) if conditions else rows


def join_reference(rows: DataFrame, reference: DataFrame, join: Join) -> DataFrame:
    """Look columns up in a reference; where it has several rows for a key its first one counts, so none multiplies."""
    keys = {f"_key{i}": F.expr(expression) for i, expression in enumerate(join.on.values())}
    taken = {f"_take_{name}": F.expr(expression) for name, expression in join.take.items()}
    # In one partition it is grouped in its own order and without a shuffle; it is sent to every task anyway.
    columns = (column.alias(name) for name, column in {**keys, **taken}.items())
    lookup = reference.coalesce(1).select(*columns).dropDuplicates(list(keys))
    match = [F.col(_quoted(column)) == F.col(name) for column, name in zip(join.on, keys, strict=True)]
    joined = rows.join(F.broadcast(lookup), match, "left")
    return joined.drop(*keys).withColumnsRenamed({f"_take_{name}": name for name in join.take})


def mark_unknown(labels: DataFrame, events: DataFrame, pipeline: Pipeline) -> DataFrame:
    """Break `unknown_key` in good labels whose event was not delivered that day; a broken event is not unknown.

    :param events: the delivered rows, all text.
    """
    key = F.expr(f"try_cast({_quoted(pipeline.key)} as {pipeline.cleaning.columns[pipeline.key]})")
    known = events.select(F.col(SOURCE_DAY).alias("_event_day"), key.alias("_event_key"))
    match = [F.col(SOURCE_DAY) == F.col("_event_day"), F.col(_quoted(pipeline.label_key)) == F.col("_event_key")]
    marked = labels.join(known.dropDuplicates(), match, "left")
    unknown = F.col("_event_day").isNull() & F.col(BROKEN).isNull()
    return mark_broken(marked, {"unknown_key": unknown}).drop("_event_day", "_event_key")


def without_labels(rows: DataFrame, pipeline: Pipeline) -> DataFrame:
    """Add the columns that labels would bring, empty."""
    # One by one: Spark Connect refuses `withColumns` of none, and an event may hold its label itself.
    for name, kind in pipeline.outcomes.items():
        rows = rows.withColumn(name, F.lit(None).cast(kind))
    return rows


def join_labels(rows: DataFrame, labels: DataFrame, pipeline: Pipeline) -> DataFrame:
    """Put the day's good labels beside its events; an event without a label keeps nulls."""
    good = labels.where(F.col(BROKEN).isNull()).select(
        F.col(SOURCE_DAY).alias("_label_day"),
        F.col(_quoted(pipeline.label_key)).alias("_label_key"),
        *(F.col(_quoted(name)) for name in pipeline.outcomes),
    )
    match = [F.col(SOURCE_DAY) == F.col("_label_day"), F.col(_quoted(pipeline.key)) == F.col("_label_key")]
    return rows.join(good, match, "left").drop("_label_day", "_label_key")


def derive(rows: DataFrame, expressions: Mapping[str, str]) -> DataFrame:
    """Add computed columns one after the other, so that a later one may use an earlier one."""
    for name, expression in expressions.items():
        rows = rows.withColumn(name, F.expr(expression))
    return rows


def fill(rows: DataFrame, values: Mapping[str, str | float | int | bool]) -> DataFrame:
    """Replace missing values."""
    for name, value in values.items():
        rows = rows.withColumn(name, F.coalesce(F.col(_quoted(name)), F.lit(value)))
    return rows


def clean_rows(rows: DataFrame) -> DataFrame:
    """Return the rows that broke no rule."""
    return rows.where(F.col(BROKEN).isNull())


def quarantined_rows(rows: DataFrame, source_kind: str) -> DataFrame:
    """Return the rows that broke a rule: where they came from, which rules, and the delivered text as JSON."""
    delivered = F.to_json(F.col(DELIVERED), {"ignoreNullFields": "false"})
    malformed = F.to_json(F.struct(MALFORMED))
    return rows.where(F.col(BROKEN).isNotNull()).select(
        F.col(SOURCE_DAY).alias("day"),
        F.lit(source_kind).alias("source_kind"),
        SOURCE_FILE,
        SOURCE_ROW,
        F.split(BROKEN, ",").alias("rules"),
        F.when(F.col(MALFORMED).isNotNull(), malformed).otherwise(delivered).alias("row"),
    )


def columns_of(pipeline: Pipeline) -> list[str]:
    """Return the clean table's columns in their order: events, labels, looked up, derived, without the dropped ones."""
    cleaning = pipeline.cleaning
    taken = [name for join in cleaning.joins for name in join.take]
    ordered = dict.fromkeys([*cleaning.columns, pipeline.date, *pipeline.outcomes, *taken, *cleaning.derive])
    return [name for name in ordered if name not in cleaning.drop]


def _names_of(conditions: Mapping[str, Column], *before: Column) -> Column:
    names = (F.when(condition, F.lit(name)) for name, condition in conditions.items())
    return F.nullif(F.concat_ws(",", *before, *names), F.lit(""))  # an array of names would not be compiled by Spark


def _quoted(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"
