"""This file is the cleaning job: `python -m include.cleaning.job SPEC`, which `spark-submit` can run as well."""

import argparse
import csv
import json
import logging
import shutil
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from uuid import uuid4

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyspark.sql import DataFrame, Observation, SparkSession
from pyspark.sql import functions as F  # noqa: N812
from pyspark.sql import types as T  # noqa: N812

from include.atomic import write_text, writing
from include.cleaning import rules
from include.cleaning.session import spark_session
from include.config import load_pipeline
from include.errors import BadDeliveryError
from include.ingestion import repairs
from include.ingestion.delivered import Delivered
from include.ingestion.delivery import Landed
from include.ingestion.reading import MALFORMED, SOURCE_DAY, SOURCE_FILE, SOURCE_ROW, read
from include.pipeline import Deduplicate, Pipeline
from include.settings import load_settings

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class CleaningSpec:
    """One attempt at cleaning a run's deliveries; the folder is new for every attempt."""

    pipeline: str
    landed_uri: str
    run_key: str
    folder: str


def clean(pipeline: Pipeline, landed_uri: str, run_key: str) -> str:
    """Clean all days of a run in one Spark job and return the path of its `staged.json`.

    Published files stay where they were staged, so every attempt writes into a folder of its own.
    """
    folder = load_settings().lake / pipeline.name / "staged" / f"{run_key}-{uuid4().hex[:8]}"
    return run(CleaningSpec(pipeline.name, repairs.applied(pipeline.name, landed_uri), run_key, str(folder)))


def run(spec: CleaningSpec) -> str:
    """Do what a specification says and return the path of `staged.json`."""
    pipeline = load_pipeline(spec.pipeline)
    days: dict[str, Landed] = json.loads(Path(spec.landed_uri).read_text())["days"]
    quarantine = load_settings().lake / pipeline.name / "quarantine" / f"run={spec.run_key}"
    shutil.rmtree(quarantine, ignore_errors=True)
    with writing(Path(spec.folder)), spark_session() as spark:
        events = _landed(spark, [path for day in days.values() for path in day["events"]], pipeline.cleaning.columns)
        label_files = [path for day in days.values() for path in day["labels"]]
        labels = _landed(spark, label_files, pipeline.cleaning.labels) if label_files else None
        checked_labels = None if labels is None else check_labels(labels, pipeline)
        checked = check_events(spark, events, pipeline, checked_labels)
        broken = Observation()
        clean_rows = rules.clean_rows(checked.observe(broken, F.count(rules.BROKEN).alias("rows")))
        # `partitionBy` takes its column out of the files, and the table needs the date in them: it gets a copy.
        clean_rows = clean_rows.select(F.col(SOURCE_DAY).alias("_p"), *rules.columns_of(pipeline))
        write_days(clean_rows.sortWithinPartitions("_p", pipeline.key), Path(spec.folder) / "data", "_p")
        bad = []
        if checked_labels is not None:
            if any(_may_be_unknown(day, pipeline) for day in days.values()):
                checked_labels = rules.mark_unknown(checked_labels, events, pipeline)
            bad.append(rules.quarantined_rows(checked_labels, "labels"))
        # Most nights have none, and looking for them costs as much as the cleaning. A busy Connect server keeps what it
        # has counted to itself (it gives it 100 ms to arrive, Observation.getOrEmpty): then one has to look.
        if broken.get.get("rows") != 0:
            bad.append(rules.quarantined_rows(checked, "events"))
        if bad:
            rows = reduce(DataFrame.union, bad).repartition("day")
            write_days(rows.sortWithinPartitions("day", SOURCE_FILE, SOURCE_ROW), quarantine, "day")
    return _summarise(spec, pipeline.training.target, list(days), quarantine)


def check_events(spark: SparkSession, events: DataFrame, pipeline: Pipeline, labels: DataFrame | None) -> DataFrame:
    """Apply the YAML's rules to events in their order and return all rows, each with the rules it broke."""
    cleaning = pipeline.cleaning
    rows = rules.cast_columns(events, cleaning.columns)
    rows = rules.mark_missing(rows, pipeline.key)
    rows = rules.place_in_day(rows, pipeline)
    rows = rules.mark_duplicates(rows, cleaning.deduplicate)
    for join in cleaning.joins:
        rows = rules.join_reference(rows, read_reference(spark, pipeline, join.reference), join)
    rows = rules.without_labels(rows, pipeline) if labels is None else rules.join_labels(rows, labels, pipeline)
    rows = rules.derive(rows, cleaning.derive)
    rows = rules.fill(rows, cleaning.fill)
    return rules.mark_rules(rows, cleaning.rules)


def check_labels(labels: DataFrame, pipeline: Pipeline) -> DataFrame:
    """Return all label rows, each with the rules it broke; of several for one key the last delivered stays."""
    rows = rules.cast_columns(labels, pipeline.cleaning.labels)
    rows = rules.mark_missing(rows, pipeline.label_key)
    return rules.mark_duplicates(rows, Deduplicate(by=[pipeline.label_key], order=[f"{SOURCE_ROW} desc"]))


def feature_rows(pipeline: Pipeline, events_files: dict[str, str]) -> pa.Table:
    """Return key, date (text) and features of the days' good events, made by the same rules as the clean table's.

    For those who ask the endpoint: labels are not known, so expressions over them are null.

    :param events_files: a day's delivery that is a CSV, by day.
    """
    columns = list(pipeline.cleaning.columns)
    delivered = {day: Delivered(path, ".csv", Path(path).read_bytes()) for day, path in events_files.items()}
    tables = [read(each, day, each.origin, columns) for day, each in delivered.items()]
    wanted = [SOURCE_DAY, SOURCE_FILE, SOURCE_ROW, MALFORMED, *columns]
    with spark_session() as spark:
        events = spark.createDataFrame(pa.concat_tables([table.select(wanted) for table in tables]))
        checked = check_events(spark, events, pipeline, None)
        names = [name for name in pipeline.training.features.names if name not in {pipeline.key, pipeline.date}]
        good = rules.clean_rows(checked).select(pipeline.key, pipeline.date, *names)
        return (
            good.withColumn(pipeline.date, F.col(pipeline.date).cast("string"))
            .sort(pipeline.date, pipeline.key)
            .toArrow()
        )


def read_reference(spark: SparkSession, pipeline: Pipeline, name: str) -> DataFrame:
    """Open a reference table with every column as text.

    :raises BadDeliveryError: if there is no such file.
    """
    path = load_settings().data / pipeline.source.references[name]
    if not path.is_file():
        raise BadDeliveryError(f"{path}: the reference table '{name}' of {pipeline.name} is not there. Deliver it.")
    with path.open(newline="", encoding="utf-8-sig") as file:
        header = next(csv.reader(file), [])
    schema = T.StructType([T.StructField(column, T.StringType()) for column in header])  # saves Spark a look of its own
    return spark.read.csv(str(path), schema=schema, header=True, quote='"', escape='"', multiLine=False)


def _landed(spark: SparkSession, paths: list[str], columns: Iterable[str]) -> DataFrame:
    texts = [T.StructField(name, T.StringType()) for name in (SOURCE_DAY, SOURCE_FILE, MALFORMED, *columns)]
    schema = T.StructType([*texts, T.StructField(SOURCE_ROW, T.LongType())])
    return spark.read.schema(schema).parquet(*paths).repartition(SOURCE_DAY)


def _may_be_unknown(day: Landed, pipeline: Pipeline) -> bool:
    """Return whether a label names no event of its day, as text: mostly none does, and asking Spark costs more."""
    events, labels = (
        [chunk for path in day[kind] for chunk in pq.read_table(path, columns=[key])[key].chunks]
        for kind, key in (("events", pipeline.key), ("labels", pipeline.label_key))
    )
    known = pa.chunked_array(events, pa.string())
    return not pc.all(pc.is_in(pa.chunked_array(labels, pa.string()).drop_null(), value_set=known)).as_py()


def write_days(rows: DataFrame, folder: Path, day: str) -> None:
    """Write one file per day into a folder per day: of rows that are together by day, and sorted by it first."""
    writer = rows.write.mode("overwrite").partitionBy(day).option("compression", "zstd")
    writer.option("mapreduce.fileoutputcommitter.marksuccessfuljobs", "false").parquet(str(folder))


def _summarise(spec: CleaningSpec, target: str, days: list[str], quarantine: Path) -> str:
    """Count from the written files, where it costs no Spark job, and write `staged.json`."""
    staged, totals = {}, Counter[str]()
    for day in days:
        files = sorted((Path(spec.folder) / "data" / f"_p={day}").glob("*.parquet"))
        labels = [pq.ParquetFile(path).read(columns=[target])[target] for path in files]
        broken = Counter[str]()
        bad = [pq.read_table(path, columns=["rules"]) for path in sorted((quarantine / f"day={day}").glob("*.parquet"))]
        for table in bad:
            counts = pc.value_counts(pc.list_flatten(table["rules"].combine_chunks()))
            broken.update({item["values"]: item["counts"] for item in counts.to_pylist()})
        totals.update(broken)
        staged[day] = {
            "rows": sum(len(column) for column in labels),
            "labelled": sum(len(column) - column.null_count for column in labels),
            "quarantined": sum(len(table) for table in bad),
            "rules": dict(broken.most_common()),
            "files": [str(path) for path in files],
        }
    index = Path(spec.folder) / "staged.json"
    write_text(
        index, json.dumps({"folder": spec.folder, "days": staged, "rules": dict(totals.most_common())}, indent=1)
    )
    rows, labelled, bad_rows = (sum(day[key] for day in staged.values()) for key in ("rows", "labelled", "quarantined"))
    told = (len(days), rows, labelled, bad_rows, dict(totals), index)
    log.info("Cleaned %s days: %s rows staged, %s of them labelled; %s quarantined %s: %s", *told)
    return str(index)


def main(arguments: list[str] | None = None) -> None:
    """Run the job on the specification named on the command line."""
    parser = argparse.ArgumentParser(prog="include.cleaning.job", description="Clean landed deliveries with Spark.")
    parser.add_argument("spec", metavar="SPEC", type=Path, help="JSON with pipeline, landed_uri, run_key and folder")
    spec = parser.parse_args(arguments).spec
    logging.basicConfig(level=logging.INFO)
    run(CleaningSpec(**json.loads(spec.read_text())))


if __name__ == "__main__":
    main()
