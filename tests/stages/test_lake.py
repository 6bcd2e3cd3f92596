import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest

from include import lake
from include.catalog import open_table
from include.errors import DiskFullError, NotEnoughDataError, PublishError, SchemaChangeError

NAME = "flight_delays"
FIRST, SECOND, THIRD = "2013-07-01", "2013-07-02", "2013-07-03"


def keys_of(first: str = FIRST, last: str = THIRD, snapshot_id: str | None = None) -> list[str]:
    return lake.read_clean(NAME, first, last, ["flight_id"], snapshot_id)["flight_id"].to_pylist()


def test_published_days_are_read_in_the_order_of_days_and_keys(pipeline, stage):
    staged = stage("a", d2013_07_02=["z", "y"], d2013_07_01=["b", "a"])

    snapshot, rows = lake.publish(pipeline, staged, [SECOND, FIRST])

    assert rows == 4
    assert snapshot == lake.current_snapshot(NAME)
    assert keys_of() == ["a", "b", "y", "z"]
    assert keys_of(SECOND, SECOND) == ["y", "z"]


def test_publishing_again_replaces_whole_days_and_leaves_the_others(pipeline, stage):
    lake.publish(pipeline, stage("a", d2013_07_01=["a", "b"], d2013_07_02=["c"]), [FIRST, SECOND])
    lake.publish(pipeline, stage("b", d2013_07_01=["x"]), [FIRST])

    assert keys_of() == ["x", "c"]


def test_replacing_a_day_rewrites_no_data_file(pipeline, stage):
    days = {f"d2013_{month:02}_{day:02}": [f"{month}-{day}"] for month in range(1, 10) for day in range(1, 29)}
    names = [name.removeprefix("d").replace("_", "-") for name in days]
    lake.publish(pipeline, stage("a", **days), names)
    lake.publish(pipeline, stage("b", **days), names)

    operations = [snapshot.summary.operation.value for snapshot in open_table(NAME).snapshots()]
    assert operations == ["append", "delete", "append"]
    assert len(keys_of("2013-01-01", "2013-12-31")) == len(days) > 200


def test_only_the_days_asked_for_are_published(pipeline, stage):
    lake.publish(pipeline, stage("a", d2013_07_01=["a"], d2013_07_02=["c"]), [SECOND])

    assert keys_of() == ["c"]


def test_publishing_the_same_folder_twice_changes_nothing(pipeline, stage):
    first = stage("a", d2013_07_01=["a"])
    once = lake.publish(pipeline, first, [FIRST])
    newer, _ = lake.publish(pipeline, stage("b", d2013_07_01=["b"]), [FIRST])

    assert lake.publish(pipeline, first, [FIRST]) == once
    assert lake.current_snapshot(NAME) == newer
    assert keys_of() == ["b"]


def test_an_old_snapshot_is_still_readable(pipeline, stage):
    old, _ = lake.publish(pipeline, stage("a", d2013_07_01=["a"]), [FIRST])
    lake.publish(pipeline, stage("b", d2013_07_01=["b"]), [FIRST])

    assert keys_of(snapshot_id=old) == ["a"]


def test_a_new_column_widens_the_table_and_a_dropped_one_reads_as_null(pipeline, stage):
    lake.publish(pipeline, stage("a", d2013_07_01=["a"]), [FIRST])
    lake.publish(pipeline, stage("b", {"gate": ["B7"]}, d2013_07_02=["b"]), [SECOND])
    lake.publish(pipeline, stage("c", d2013_07_03=["c"]), [THIRD])

    assert lake.read_clean(NAME, FIRST, THIRD, ["gate"])["gate"].to_pylist() == [None, "B7", None]


def test_what_changed_in_the_table_is_said(pipeline, stage, caplog):
    lake.publish(pipeline, stage("a", {"gate": ["B7"]}, d2013_07_01=["a"]), [FIRST])
    lake.publish(pipeline, stage("b", {"seats": [7]}, d2013_07_02=["b"]), [SECOND])

    assert "the table has new columns ['seats']; they are null in the days published before" in caplog.text
    assert "the YAML has no ['gate'] any more; the table keeps them" in caplog.text


def test_an_optional_column_that_comes_back_is_read_again(pipeline, stage):
    for name, day, columns in (("a", FIRST, {"gate": ["A1"]}), ("b", SECOND, {}), ("c", THIRD, {"gate": ["C3"]})):
        lake.publish(pipeline, stage(name, columns, **{"d" + day.replace("-", "_"): [name]}), [day])

    assert lake.read_clean(NAME, FIRST, THIRD, ["gate"])["gate"].to_pylist() == ["A1", None, "C3"]


@pytest.mark.parametrize(
    ("before", "after", "kind"),
    [
        (pa.array([1], pa.int32()), pa.array([2**40], pa.int64()), pa.int64()),
        (pa.array([0.5], pa.float32()), pa.array([1e300], pa.float64()), pa.float64()),
        (pa.array([2**40], pa.int64()), pa.array([1], pa.int32()), pa.int64()),
    ],
)
def test_a_widened_type_holds_old_and_new_days(pipeline, stage, before, after, kind):
    lake.publish(pipeline, stage("a", {"x": before}, d2013_07_01=["a"]), [FIRST])
    lake.publish(pipeline, stage("b", {"x": after}, d2013_07_02=["b"]), [SECOND])

    column = lake.read_clean(NAME, FIRST, SECOND, ["x"])["x"]

    assert column.type == kind
    assert column.to_pylist() == [*before.to_pylist(), *after.to_pylist()]


def test_a_type_the_table_cannot_follow_is_refused_with_the_way_out(pipeline, stage):
    lake.publish(pipeline, stage("a", {"x": [1]}, d2013_07_01=["a"]), [FIRST])

    with pytest.raises(
        SchemaChangeError, match=r"x: long -> double in the published table.*derive a column of another"
    ):
        lake.publish(pipeline, stage("b", {"x": [0.5]}, d2013_07_02=["b"]), [SECOND])

    assert keys_of() == ["a"]


def test_a_full_disk_leaves_the_table_as_it_was_and_a_retry_publishes(pipeline, stage, no_room):
    lake.publish(pipeline, stage("a", d2013_07_01=["a"]), [FIRST])
    staged = stage("b", d2013_07_01=["b"])

    with no_room(), pytest.raises(DiskFullError, match="no room"):
        lake.publish(pipeline, staged, [FIRST])

    assert keys_of() == ["a"]
    lake.publish(pipeline, staged, [FIRST])
    assert keys_of() == ["b"]


def test_rows_that_are_not_what_was_staged_are_reported_with_their_day(pipeline, stage):
    staged = Path(stage("a", d2013_07_01=["a", "b"]))
    staged.write_text(staged.read_text().replace('"rows": 2', '"rows": 3'))

    with pytest.raises(PublishError, match=r"'2013-07-01': \(2, 3\)"):
        lake.publish(pipeline, str(staged), [FIRST])


def test_nothing_staged_is_nothing_to_publish(pipeline, stage):
    with pytest.raises(PublishError, match="nothing was staged"):
        lake.publish(pipeline, stage("a"), [])


def test_runs_that_publish_at_the_same_time_lose_nothing(pipeline, stage):
    lake.publish(pipeline, stage("first", d2013_07_01=["a"]), [FIRST])
    days = [f"2013-08-{day:02}" for day in range(1, 7)]
    staged = {day: stage(day, **{"d" + day.replace("-", "_"): [day]}) for day in days}

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda day: lake.publish(pipeline, staged[day], [day]), days))

    assert keys_of("2013-07-01", "2013-12-31") == ["a", *days]


def test_an_empty_lake_has_no_snapshot_and_says_so(pipeline):
    assert lake.current_snapshot(NAME) is None
    assert lake.expire(NAME, 1) == {"snapshots": 0, "folders": 0, "metadata_files": 0}
    with pytest.raises(NotEnoughDataError, match="Ingest some days first"):
        keys_of()


def test_expiry_keeps_what_is_tagged_or_young(pipeline, stage, tmp_path):
    tagged, _ = lake.publish(pipeline, stage("a", d2013_07_01=["a"]), [FIRST])
    lake.tag_snapshot(NAME, tagged, "v1")
    lake.tag_snapshot(NAME, tagged, "v1")
    lost, _ = lake.publish(pipeline, stage("b", d2013_07_01=["b"]), [FIRST])
    lake.publish(pipeline, stage("c", d2013_07_01=["c"]), [FIRST])
    stage("never-published", d2013_07_02=["d"])
    assert lake.expire(NAME, 1) == {"snapshots": 0, "folders": 0, "metadata_files": 0}
    time.sleep(0.01)

    removed = lake.expire(NAME, 0)

    assert removed["folders"] == 2
    assert removed["metadata_files"] > 0
    assert {path.name for path in (tmp_path / "lake" / NAME / "staged").iterdir()} == {"a", "c"}
    assert keys_of(snapshot_id=tagged) == ["a"]
    assert keys_of() == ["c"]
    with pytest.raises(ValueError, match=lost):
        keys_of(snapshot_id=lost)


def test_expiry_leaves_what_a_running_ingest_has_staged(pipeline, stage, tmp_path):
    lake.publish(pipeline, stage("a", d2013_07_01=["a"]), [FIRST])
    for name in ("young", "old"):
        stage(name, d2013_07_02=["b"])
    staged = tmp_path / "lake" / NAME / "staged"
    os.utime(staged / "old", (0, 0))

    assert lake.expire(NAME, 3)["folders"] == 1
    assert {path.name for path in staged.iterdir()} == {"a", "young"}


def test_a_snapshot_that_lost_its_tag_expires_with_its_files(pipeline, stage, tmp_path):
    tagged, _ = lake.publish(pipeline, stage("a", d2013_07_01=["a"]), [FIRST])
    lake.tag_snapshot(NAME, tagged, "v1")
    lake.publish(pipeline, stage("b", d2013_07_01=["b"]), [FIRST])
    time.sleep(0.01)

    lake.untag_snapshot(NAME, "v1")
    lake.untag_snapshot(NAME, "v1")
    lake.expire(NAME, 0)

    assert [path.name for path in (tmp_path / "lake" / NAME / "staged").iterdir()] == ["b"]


def test_forgotten_days_leave_the_table_and_then_the_disk(pipeline, stage, tmp_path):
    lake.publish(pipeline, stage("a", d2013_07_01=["a"]), [FIRST])
    lake.publish(pipeline, stage("b", d2013_07_02=["b"]), [SECOND])

    lake.forget_days(pipeline, SECOND)
    lake.forget_days(pipeline, SECOND)

    assert keys_of() == ["b"]
    assert [each.summary.operation.value for each in open_table(NAME).snapshots()] == ["append", "append", "delete"]
    time.sleep(0.01)
    lake.expire(NAME, 0)
    assert [path.name for path in (tmp_path / "lake" / NAME / "staged").iterdir()] == ["b"]


def test_table_metadata_of_a_commit_that_came_to_nothing_is_removed(pipeline, stage):
    lake.publish(pipeline, stage("a", d2013_07_01=["a"]), [FIRST])
    orphan = Path(open_table(NAME).metadata_location.removeprefix("file:")).with_name("00099-x.metadata.json")
    orphan.write_text("{}")
    os.utime(orphan, (0, 0))

    assert lake.expire(NAME, 3)["metadata_files"] == 1
    assert keys_of() == ["a"]


def test_clean_rows_reach_pandas_with_their_types(pipeline, stage):
    lake.publish(pipeline, stage("a", {"late": [True, None]}, d2013_07_01=["a", "b"]), [FIRST])

    frame = lake.read_clean(NAME, FIRST, FIRST, ["late", "flight_date"]).to_pandas()

    assert frame["late"].tolist() == [True, None]
    assert pd.Timestamp(frame["flight_date"][0]) == pd.Timestamp(FIRST)
