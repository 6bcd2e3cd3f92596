import json
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from include import lake, publication, validation
from include.cleaning import job, session
from include.config import load_pipeline
from include.errors import BadDeliveryError, DiskFullError
from include.ingestion.delivery import land
from include.ingestion.late_labels import late_labels
from include.ledger import nights, open_ledger
from include.settings import ROOT

MONDAY, TUESDAY = "2013-07-08", "2013-07-09"
YAML = """
description: Rides.
owner: nobody
schedule: {start: 2013-01-01}
key: ride
date: day
source:
  events: {path: "landing/events/{date}.csv"}
  labels: {path: "landing/labels/{date}.csv"}
  references: {weather: landing/weather.csv}
cleaning:
  columns: {ride: string, day: date, hour: timestamp, town: string, distance: double}
  labels: {ride: string, delay: double}
  deduplicate: {by: [ride], order: ["source_row desc"]}
  joins:
    - reference: weather
      "on": {town: town, hour: "to_timestamp(at)"}
      take: {temp: "try_cast(temp as double)", gust: "try_cast(gust as double)"}
  derive: {weekday: "date_format(day, 'E')", late: "delay > 15"}
  fill: {gust: 0.0}
  rules: {distance_is_positive: "distance > 0"}
  drop: [hour]
expectations: []
training: {target: late, features: {numeric: [distance, temp, gust], categorical: [town, weekday]}}
"""


def event(ride: str, day: str = MONDAY, distance: str = "700") -> str:
    return f"{ride},{day},{day}T10:00:00Z,Reno,{distance}\n"


@pytest.fixture
def pipeline(spark, tmp_path, monkeypatch):
    @contextmanager
    def shared():
        yield spark

    monkeypatch.setenv("EVERGREEN_DATA", str(tmp_path))
    monkeypatch.setattr(job, "spark_session", shared)
    monkeypatch.setenv("EVERGREEN_PIPELINES", str(tmp_path))
    (tmp_path / "rides.yaml").write_text(YAML)
    (tmp_path / "landing").mkdir()
    (tmp_path / "landing" / "weather.csv").write_text(f"town,at,temp,gust\nReno,{MONDAY}T10:00:00Z,70.5,NA\n")
    return load_pipeline("rides")


@pytest.fixture
def deliver(delivery_of):
    def write(pipeline, day: str, events: str, labels: str = "") -> None:
        headers = {"events": ",".join(pipeline.cleaning.columns), "labels": ",".join(pipeline.cleaning.labels)}
        for (kind, path), rows in zip(delivery_of(pipeline, day).items(), (events, labels), strict=True):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{headers[kind]}\n{rows}")

    return write


def test_a_run_stages_clean_days_and_quarantines_the_rest(pipeline, deliver, tmp_path):
    monday = event("b") + event("a") + event("b", distance="900") + event("c", distance="-7") + "half,a line\n"
    deliver(pipeline, MONDAY, monday, "a,20\nb,soon\n")
    deliver(pipeline, TUESDAY, event("d", TUESDAY) + event("e", MONDAY))

    staged_uri = job.clean(pipeline, land(pipeline, [MONDAY, TUESDAY], "run"), "run")
    staged = json.loads(Path(staged_uri).read_text())

    assert {day: (each["rows"], each["quarantined"]) for day, each in staged["days"].items()} == {
        MONDAY: (2, 4),
        TUESDAY: (1, 1),
    }
    assert {day: each["labelled"] for day, each in staged["days"].items()} == {MONDAY: 1, TUESDAY: 0}
    assert staged["rules"] == {
        "duplicate": 1, "distance_is_positive": 1, "malformed": 1, "type:delay": 1, "wrong_day": 1
    }  # fmt: skip
    [file] = staged["days"][MONDAY]["files"]
    assert file.startswith(f"{staged['folder']}/data/_p={MONDAY}/")
    rows = pq.ParquetFile(file).read()
    assert rows.column_names == ["ride", "day", "town", "distance", "delay", "temp", "gust", "weekday", "late"]
    assert rows.schema.field("day").type == pa.date32()
    assert rows.select(["ride", "distance", "late", "temp", "gust", "weekday"]).to_pylist() == [
        {"ride": "a", "distance": 700.0, "late": True, "temp": 70.5, "gust": 0.0, "weekday": "Mon"},
        {"ride": "b", "distance": 900.0, "late": None, "temp": 70.5, "gust": 0.0, "weekday": "Mon"},
    ]
    quarantine = ds.dataset(tmp_path / "lake/rides/quarantine/run=run", partitioning="hive").to_table().to_pylist()
    assert {(row["source_kind"], row["source_row"], row["rules"][0]) for row in quarantine if row["day"] == MONDAY} == {
        ("events", 2, "duplicate"),
        ("events", 5, "distance_is_positive"),
        ("events", 6, "malformed"),
        ("labels", 3, "type:delay"),
    }


def test_cleaning_again_stages_beside_and_replaces_the_runs_quarantine(pipeline, deliver, tmp_path):
    deliver(pipeline, MONDAY, event("a") + event("b", distance="-7"))
    first = job.clean(pipeline, land(pipeline, [MONDAY], "run"), "run")
    deliver(pipeline, MONDAY, event("a") + event("b"))
    second = job.clean(pipeline, land(pipeline, [MONDAY], "run"), "run")

    assert first != second
    assert json.loads(Path(second).read_text())["rules"] == {}
    assert not list((tmp_path / "lake/rides/quarantine").rglob("*.parquet"))


def test_broken_rows_are_looked_for_where_spark_does_not_say_how_many_it_has_seen(pipeline, deliver, monkeypatch):
    class Silent(job.Observation):
        get = {}  # noqa: RUF012 - what a busy Connect server answers

    monkeypatch.setattr(job, "Observation", Silent)
    deliver(pipeline, MONDAY, event("a") + event("b", distance="-7"))

    staged = json.loads(Path(job.clean(pipeline, land(pipeline, [MONDAY], "run"), "run")).read_text())

    assert staged["rules"] == {"distance_is_positive": 1}


def test_a_delivery_without_rows_is_a_day_without_files(pipeline, deliver):
    deliver(pipeline, MONDAY, "")

    staged = json.loads(Path(job.clean(pipeline, land(pipeline, [MONDAY], "run"), "run")).read_text())

    assert staged["days"] == {MONDAY: {"rows": 0, "labelled": 0, "quarantined": 0, "rules": {}, "files": []}}


def test_a_missing_reference_is_named(pipeline, deliver, tmp_path):
    deliver(pipeline, MONDAY, event("a"))
    (tmp_path / "landing" / "weather.csv").unlink()

    with pytest.raises(BadDeliveryError, match=r"weather\.csv: the reference table 'weather'"):
        job.clean(pipeline, land(pipeline, [MONDAY], "run"), "run")


def test_labels_are_joined_where_they_are_there_and_held_against_the_events(pipeline, deliver, delivery_of, tmp_path):
    source = pipeline.source.labels.model_copy(update={"delay_days": 1})
    late = pipeline.model_copy(update={"source": pipeline.source.model_copy(update={"labels": source})})
    deliver(late, MONDAY, event("a") + event("b") + event("c", distance="-7"), "a,20\nnobody,9\nc,5\na,30\n,1\n")
    deliver(late, TUESDAY, event("d", TUESDAY))
    delivery_of(late, TUESDAY)["labels"].unlink()

    staged = json.loads(Path(job.clean(late, land(late, [MONDAY, TUESDAY], "run"), "run")).read_text())

    assert {day: (each["rows"], each["labelled"]) for day, each in staged["days"].items()} == {
        MONDAY: (2, 1),
        TUESDAY: (1, 0),
    }
    assert staged["days"][MONDAY]["rules"] == {
        "distance_is_positive": 1, "duplicate": 1, "missing:ride": 1, "unknown_key": 1
    }  # fmt: skip
    quarantine = ds.dataset(tmp_path / "lake/rides/quarantine/run=run", partitioning="hive").to_table().to_pylist()
    [unknown] = [row for row in quarantine if row["rules"] == ["unknown_key"]]
    assert (unknown["source_kind"], unknown["source_row"]) == ("labels", 3)
    assert json.loads(unknown["row"]) == {"ride": "nobody", "delay": "9"}


def test_late_labels_are_joined_by_the_next_night_and_a_correction_by_hand(pipeline, deliver, delivery_of, tmp_path):
    (tmp_path / "rides.yaml").write_text(YAML.replace('labels/{date}.csv"', 'labels/{date}.csv", delay_days: 1'))
    late = load_pipeline("rides")
    labels = {day: delivery_of(late, day)["labels"] for day in (MONDAY, TUESDAY)}

    def night(day: str, run_key: str, *, by_hand: bool = False) -> dict[str, tuple[int, int]]:
        landed = land(late, [day], run_key, late={} if by_hand else late_labels(late, day))
        staged_uri = job.clean(late, landed, run_key)
        days = list(json.loads(Path(staged_uri).read_text())["days"])
        publication.publish(late, staged_uri, {"passed": days, "refused": {}, "reports": {}}, run_key)
        with open_ledger() as session:
            return {row.day: (row.rows, row.labelled) for row in nights.partitions_of(session, "rides")}

    def known() -> list:
        return lake.read_clean("rides", MONDAY, TUESDAY, ["ride", "distance", "late"]).to_pylist()

    deliver(late, MONDAY, event("a") + event("b"), "a,20\n")
    arriving = labels[MONDAY].rename(tmp_path / "arriving.csv")
    assert night(MONDAY, "one") == {MONDAY: (2, 0)}
    assert [row["late"] for row in known()] == [None, None]

    deliver(late, TUESDAY, event("c", TUESDAY))
    labels[TUESDAY].unlink()
    arriving.rename(labels[MONDAY])
    delivery_of(late, MONDAY)["events"].unlink()
    assert night(TUESDAY, "two") == {MONDAY: (2, 1), TUESDAY: (1, 0)}
    after = known()
    assert [row["late"] for row in after] == [True, None, None]

    deliver(late, MONDAY, event("a") + event("b"), "a,20\n")
    night(MONDAY, "same bytes", by_hand=True)
    assert known() == after

    deliver(late, MONDAY, event("a", distance="900") + event("b"), "a,20\nb,3\n")
    assert night(MONDAY, "corrected", by_hand=True)[MONDAY] == (2, 2)
    assert [(row["ride"], row["distance"], row["late"]) for row in known()] == [
        ("a", 900.0, True),
        ("b", 700.0, False),
        ("c", 700.0, None),
    ]


def test_a_run_without_any_labels_has_null_outcomes_of_their_type(pipeline, deliver, delivery_of):
    source = pipeline.source.labels.model_copy(update={"delay_days": 1})
    late = pipeline.model_copy(update={"source": pipeline.source.model_copy(update={"labels": source})})
    deliver(late, MONDAY, event("a"))
    delivery_of(late, MONDAY)["labels"].unlink()

    staged = json.loads(Path(job.clean(late, land(late, [MONDAY], "run"), "run")).read_text())

    rows = pq.ParquetFile(staged["days"][MONDAY]["files"][0]).read()
    assert (rows["delay"].type, rows["delay"].null_count, rows["late"].type) == (pa.float64(), 1, pa.bool_())


def test_an_optional_column_that_was_not_delivered_is_null_and_an_empty_or_constant_one_is_kept(
    pipeline, deliver, delivery_of, tmp_path
):
    (tmp_path / "rides.yaml").write_text(YAML.replace("  rules:", "  optional: [distance]\n  rules:"))
    optional = load_pipeline("rides")
    deliver(optional, MONDAY, event("a", distance="") + event("b", distance=""), "a,20\nb,20\n")
    deliver(optional, TUESDAY, "")
    delivery_of(optional, TUESDAY)["events"].write_text(f"town,day,ride,hour\nReno,{TUESDAY},c,{TUESDAY}T10:00:00Z\n")

    staged = json.loads(Path(job.clean(optional, land(optional, [MONDAY, TUESDAY], "run"), "run")).read_text())

    columns = [pq.ParquetFile(staged["days"][day]["files"][0]).read()["distance"] for day in (MONDAY, TUESDAY)]
    assert [(column.type, column.to_pylist()) for column in columns] == [
        (pa.float64(), [None, None]),
        (pa.float64(), [None]),
    ]


def test_a_day_of_the_wrong_type_all_through_is_refused_by_name(pipeline, deliver):
    deliver(pipeline, MONDAY, event("a", distance="far") + event("b", distance="near"))
    staged_uri = job.clean(pipeline, land(pipeline, [MONDAY], "run"), "run")

    verdict = validation.validate(pipeline, staged_uri, "run")

    assert verdict["refused"] == {MONDAY: "no clean rows at all, 2 quarantined: {'type:distance': 2}"}


def test_a_full_disk_is_named_and_a_retry_cleans(spark, pipeline, deliver, no_room):
    deliver(pipeline, MONDAY, event("a"), "a,20\n")
    landed = land(pipeline, [MONDAY], "run")

    with no_room(pid=spark.sparkContext._gateway.proc.pid), pytest.raises(DiskFullError, match=r"staged/run-.*no room"):
        job.clean(pipeline, landed, "run")

    assert json.loads(Path(job.clean(pipeline, landed, "run")).read_text())["days"][MONDAY]["rows"] == 1


def test_features_for_the_endpoint_are_those_of_the_clean_table(pipeline, deliver, delivery_of):
    deliver(pipeline, MONDAY, event("b") + event("a") + event("c", distance="-7"), "a,20\n")
    staged = json.loads(Path(job.clean(pipeline, land(pipeline, [MONDAY], "run"), "run")).read_text())
    clean = pq.ParquetFile(staged["days"][MONDAY]["files"][0]).read()

    asked = job.feature_rows(pipeline, {MONDAY: str(delivery_of(pipeline, MONDAY)["events"])})

    features = pipeline.training.features.names
    assert asked.column_names == [pipeline.key, pipeline.date, *features]
    assert asked[pipeline.date].to_pylist() == [MONDAY, MONDAY]
    assert asked.select([pipeline.key, *features]).to_pylist() == clean.select([pipeline.key, *features]).to_pylist()


def test_the_module_reads_its_work_from_a_file(pipeline, tmp_path, monkeypatch):
    specs = []
    monkeypatch.setattr(job, "run", specs.append)
    spec = job.CleaningSpec(pipeline.name, "landed.json", "run", str(tmp_path))
    path = tmp_path / "spec.json"
    path.write_text(json.dumps(asdict(spec)))

    job.main([str(path)])

    assert specs == [spec]


def test_a_server_that_does_not_answer_is_replaced_by_this_process_with_a_warning(spark, monkeypatch, caplog):
    monkeypatch.setenv("SPARK_REMOTE", "sc://127.0.0.1:1/;token=secret")

    with caplog.at_level("WARNING"), session.spark_session() as opened:
        assert opened is spark

    assert "127.0.0.1:1" in caplog.text
    assert "secret" not in caplog.text


def test_the_module_says_how_it_is_called():
    result = subprocess.run(
        [sys.executable, "-m", "include.cleaning.job"],
        check=False,
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=60,
    )

    assert result.returncode == 2
    assert "SPEC" in result.stderr
