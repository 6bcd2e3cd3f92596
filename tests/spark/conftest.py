from collections.abc import Callable, Iterator

import pytest
from pyspark.sql import DataFrame, SparkSession

from include.cleaning import session

# What makes five rows quick: one task, nothing compiled.
QUICK = {
    "spark.master": "local[1]",
    "spark.sql.shuffle.partitions": "1",
    "spark.sql.codegen.wholeStage": "false",
    "spark.sql.codegen.factoryMode": "NO_CODEGEN",
    "spark.sql.adaptive.enabled": "false",
}


@pytest.fixture(scope="session")
def spark() -> Iterator[SparkSession]:
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("SPARK_REMOTE", raising=False)
        patch.setattr(session, "OPTIONS", {**session.OPTIONS, **QUICK})
        started = session.local_session()
        yield started
        started.stop()


@pytest.fixture
def delivered(spark: SparkSession) -> Callable[..., DataFrame]:
    """Return a function that makes a delivery of one day: all columns text, rows numbered from 2."""

    def make(columns: list[str], *rows: tuple[str | None, ...], day: str = "2013-07-08") -> DataFrame:
        schema = "source_day string, source_file string, source_row bigint, malformed string"
        texts = "".join(f", `{column}` string" for column in columns)
        values = [(day, "d.csv", number, None, *row) for number, row in enumerate(rows, 2)]
        return spark.createDataFrame(values, schema + texts)

    return make
