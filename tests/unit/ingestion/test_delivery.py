import json
import os
from datetime import date
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from include.config import load_pipeline
from include.errors import BadDeliveryError, DeliveryMissingError, DiskFullError, SourceUnavailableError
from include.ingestion import files
from include.ingestion.delivery import is_delivered, land
from include.partition import days_between
from include.pipeline import Pipeline

DAY = "2013-07-08"


@pytest.fixture
def pipeline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pipeline:
    monkeypatch.setenv("EVERGREEN_DATA", str(tmp_path))
    return load_pipeline("flight_delays")


@pytest.fixture
def deliver(delivery_of):
    def write(pipeline: Pipeline, day: str, **files: str) -> None:
        headers = {"events": ",".join(pipeline.cleaning.columns), "labels": ",".join(pipeline.cleaning.labels)}
        for kind, path in delivery_of(pipeline, day).items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(files.get(kind, headers[kind] + "\n"))

    return write


def test_landing_names_every_missing_file(pipeline, deliver):
    deliver(pipeline, DAY)

    assert is_delivered(pipeline, DAY)
    assert not is_delivered(pipeline, "2013-07-09")
    with pytest.raises(
        DeliveryMissingError, match=r"2 of 4 .*events/2013-07-09.csv, .*labels/2013-07-09.csv"
    ) as missing:
        land(pipeline, [DAY, "2013-07-09"], "run")
    assert f"Days there: 1 between {DAY} and {DAY}, nearest: {DAY}." in str(missing.value)


def test_a_missing_file_is_named_also_where_the_folder_may_not_be_listed(pipeline, deliver, monkeypatch):
    deliver(pipeline, DAY)

    def refuse(source):
        raise SourceUnavailableError("AccessDenied")

    monkeypatch.setattr(files, "days_of", refuse)

    with pytest.raises(DeliveryMissingError, match=r"2 of 4 .*events/2013-07-09.csv"):
        land(pipeline, [DAY, "2013-07-09"], "run")


def test_landing_keeps_the_bytes_and_lists_the_rows(pipeline, deliver, tmp_path):
    deliver(pipeline, DAY, labels="flight_id,arr_delay\nx,1\n")

    index = json.loads(Path(land(pipeline, [DAY], "run")).read_text())

    [file] = index["days"][DAY]["labels"]
    labels = Path(file)
    row = pq.read_table(labels).to_pylist()[0]
    name = labels.name.removesuffix(".rows.parquet")
    assert labels.is_relative_to(tmp_path / "lake" / "flight_delays" / "raw" / "labels" / f"day={DAY}")
    assert labels.with_name(f"{name}.csv").read_text() == "flight_id,arr_delay\nx,1\n"
    assert row["source_file"] == f"raw/labels/day={DAY}/{name}.csv"


def test_a_landed_file_that_is_used_again_is_young_again_for_expiry(pipeline, deliver):
    deliver(pipeline, DAY)
    (old,) = Path(land(pipeline, [DAY], "one")).parents[2].glob("raw/events/**/*.rows.parquet")
    os.utime(old, (0, 0))

    land(pipeline, [DAY], "again")

    assert old.stat().st_mtime > 0


def test_a_redelivery_lies_beside_the_first_and_the_same_bytes_change_nothing(pipeline, deliver):
    deliver(pipeline, DAY, labels="flight_id,arr_delay\nx,1\n")
    first = land(pipeline, [DAY], "one")
    before = {path: path.stat().st_ino for path in Path(first).parents[2].glob("raw/**/*.*")}
    again = land(pipeline, [DAY], "again")
    assert {path: path.stat().st_ino for path in before} == before
    assert json.loads(Path(again).read_text()) == json.loads(Path(first).read_text())

    deliver(pipeline, DAY, labels="flight_id,arr_delay\nx,2\n")
    land(pipeline, [DAY], "two")

    assert len(list(Path(first).parents[2].glob("raw/labels/**/*.csv"))) == 2
    assert not list(Path(first).parents[2].glob("raw/**/.*"))


def test_landed_files_are_held_against_todays_yaml_too(pipeline, deliver):
    deliver(pipeline, DAY, labels="flight_id,arr_delay\nx,1\n")
    land(pipeline, [DAY], "one")
    wider = pipeline.model_copy(
        update={"cleaning": pipeline.cleaning.model_copy(update={"labels": {"flight_id": "string", "tip": "double"}})}
    )

    with pytest.raises(BadDeliveryError, match="tip"):
        land(wider, [DAY], "two")


def test_a_range_is_landed_in_one_index(pipeline, deliver):
    days = days_between(date(2013, 7, 1), date(2013, 7, 5))
    for day in days:
        deliver(pipeline, day)

    assert list(json.loads(Path(land(pipeline, days, "range")).read_text())["days"]) == days


def test_a_file_that_came_twice_under_two_names_counts_once(pipeline, tmp_path):
    twice = pipeline.source.model_copy(
        update={"events": pipeline.source.events.model_copy(update={"path": "{date}/*.csv"}), "labels": None}
    )
    for name in ("a", "b"):
        (tmp_path / DAY).mkdir(exist_ok=True)
        (tmp_path / DAY / f"{name}.csv").write_text(",".join(pipeline.cleaning.columns) + "\n")

    index = json.loads(Path(land(pipeline.model_copy(update={"source": twice}), [DAY], "run")).read_text())

    assert len(index["days"][DAY]["events"]) == 1
    assert index["days"][DAY]["labels"] == []


def test_a_full_disk_leaves_nothing_half_written_and_a_retry_lands(pipeline, deliver, no_room, tmp_path):
    deliver(pipeline, DAY, labels="flight_id,arr_delay\n" + "".join(f"x{number},1\n" for number in range(99)))

    with (
        no_room(),
        pytest.raises(DiskFullError, match=r"raw/.*no room to write it \(.* GB free.*make room, then clear"),
    ):
        land(pipeline, [DAY], "run")

    assert not [path for path in (tmp_path / "lake").rglob("*") if path.is_file()]
    land(pipeline, [DAY], "run")
