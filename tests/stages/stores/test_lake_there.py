"""The clean table in an object store: all that `include/lake.py` promises of a table on the disk."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from include import lake, published
from include.catalog import open_table
from include.errors import ConfigError
from include.filesystems import files_below, filesystem_of, location_of
from include.settings import load_settings
from tests.azurite import KEY
from tests.stages.stores.conftest import SECRET

NAME = "flight_delays"
FIRST, SECOND = "2013-07-01", "2013-07-02"
NEVER = datetime.now(UTC) + timedelta(days=400)


every_catalog = pytest.mark.parametrize("lake_url", ["s3", "glue", "rest", "azure"], indirect=True)


@pytest.fixture(autouse=True, params=["s3", "azure"])
def lake_url(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Every test of this file is run on each kind of store, and some with each kind of catalog."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    url: str = request.getfixturevalue(request.param)
    monkeypatch.setenv("EVERGREEN_LAKE", url)
    return url


def keys_of(snapshot_id: str | None = None) -> list[str]:
    return lake.read_clean(NAME, FIRST, SECOND, ["flight_id"], snapshot_id)["flight_id"].to_pylist()


@every_catalog
def test_a_day_is_published_read_and_replaced(pipeline, stage, lake_url):
    staged = stage("a", d2013_07_02=["z", "y"], d2013_07_01=["b", "a"])

    old, rows = lake.publish(pipeline, staged, [SECOND, FIRST])
    assert (rows, keys_of()) == (4, ["a", "b", "y", "z"])
    assert lake.days_from(NAME, json.loads(Path(staged).read_text())["folder"], [FIRST, SECOND]) == {FIRST, SECOND}

    lake.publish(pipeline, stage("b", d2013_07_01=["x"]), [FIRST])
    assert keys_of() == ["x", "y", "z"]
    assert keys_of(old) == ["a", "b", "y", "z"]
    assert [day for day, _ in lake.clean_days(NAME, FIRST, SECOND, ["flight_id"])] == [FIRST, SECOND]


def test_all_of_the_table_lies_there_and_nothing_of_it_here_nor_a_secret(pipeline, stage, lake_url, tmp_path):
    staged = stage("a", d2013_07_01=["a"], d2013_07_02=["z"])
    lake.publish(pipeline, staged, [FIRST])

    table = open_table(NAME)
    assert table.location() == f"{lake_url}/evergreen/{NAME}"
    assert table.metadata_location.startswith(f"{lake_url}/")
    (uri,) = [uri for files in lake.clean_files(NAME)[1].values() for uri in files]
    assert uri == f"{lake_url}/{NAME}/staged/a/data/_p={FIRST}/part-0.parquet"
    assert not list(tmp_path.rglob("*.metadata.json"))
    assert not [path for path in files_below(lake_url) if SECOND in str(path)], "what is not published stays here"
    storage, _ = filesystem_of(lake_url)
    written = [storage.cat_file(str(path)) for path in files_below(lake_url)]
    written += [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    assert not [content for content in written if SECRET.encode() in content or KEY.encode() in content]


def test_a_machine_with_an_empty_disk_reads_the_same_table(pipeline, stage, tmp_path, monkeypatch):
    lake.publish(pipeline, stage("a", d2013_07_01=["a"]), [FIRST])
    monkeypatch.setenv("EVERGREEN_CATALOG_URL", load_settings().catalog_url)
    monkeypatch.setenv("EVERGREEN_DATA", str(tmp_path / "another"))

    assert keys_of() == ["a"]


@every_catalog
def test_publishing_the_same_folder_twice_changes_nothing(pipeline, stage):
    first = stage("a", d2013_07_01=["a"])
    once = lake.publish(pipeline, first, [FIRST])
    newer, _ = lake.publish(pipeline, stage("b", d2013_07_01=["b"]), [FIRST])

    assert lake.publish(pipeline, first, [FIRST]) == once
    assert lake.current_snapshot(NAME) == newer


@every_catalog
def test_a_new_column_widens_the_table(pipeline, stage):
    lake.publish(pipeline, stage("a", d2013_07_01=["a"]), [FIRST])
    lake.publish(pipeline, stage("b", {"gate": ["B7"]}, d2013_07_02=["b"]), [SECOND])

    assert lake.read_clean(NAME, FIRST, SECOND, ["gate"])["gate"].to_pylist() == [None, "B7"]


@every_catalog
def test_expiry_removes_what_no_snapshot_needs_and_keeps_what_is_tagged(pipeline, stage, lake_url):
    pinned, _ = lake.publish(pipeline, stage("a", d2013_07_01=["a"]), [FIRST])
    lake.tag_snapshot(NAME, pinned, "v1")
    lake.tag_snapshot(NAME, pinned, "v1")
    lake.publish(pipeline, stage("b", d2013_07_01=["b"]), [FIRST])
    lake.publish(pipeline, stage("c", d2013_07_01=["c"]), [FIRST])
    storage, there = filesystem_of(f"{lake_url}/{NAME}/staged")
    storage.pipe_file(f"{there}/killed/data/_p=x/part-0.parquet", b"a publish that died before its commit")

    assert lake.expire(NAME, 30)["snapshots"] == 0, "young"
    removed = lake.expire(NAME, 30, NEVER)

    assert removed["snapshots"] == 3
    assert removed["folders"] == 4, "here all three that were staged, there one of them and the one that died"
    assert removed["metadata_files"] > 0
    left = {path.relative_to(there).parts[0] for path in files_below(f"{lake_url}/{NAME}/staged")}
    assert left == {"a", "c"}
    assert (keys_of(), keys_of(pinned)) == (["c"], ["a"])

    lake.untag_snapshot(NAME, "v1")
    lake.expire(NAME, 30, NEVER)
    assert {path.relative_to(there).parts[0] for path in files_below(f"{lake_url}/{NAME}/staged")} == {"c"}
    with pytest.raises(ValueError, match=pinned):
        keys_of(pinned)


def test_days_are_forgotten(pipeline, stage):
    lake.publish(pipeline, stage("a", d2013_07_01=["a"], d2013_07_02=["b"]), [FIRST, SECOND])

    lake.forget_days(pipeline, SECOND)

    assert keys_of() == ["b"]


def test_spark_is_given_copies_on_this_disk(pipeline, stage, tmp_path):
    lake.publish(pipeline, stage("a", d2013_07_01=["a"]), [FIRST])
    uris = [uri for files in lake.clean_files(NAME)[1].values() for uri in files]

    (path,) = published.brought_here(uris, tmp_path / "brought")

    assert Path(path).parent == tmp_path / "brought"
    storage, _ = filesystem_of(uris[0])
    assert Path(path).read_bytes() == storage.cat_file(str(location_of(uris[0])))


def test_a_table_on_the_disk_is_not_continued_there(pipeline, stage, lake_url, monkeypatch, tmp_path):
    monkeypatch.setenv("EVERGREEN_LAKE", "")
    monkeypatch.setenv("EVERGREEN_CATALOG_URL", f"sqlite:///{tmp_path}/another.db")
    lake.publish(pipeline, stage("a", d2013_07_01=["a"]), [FIRST])
    monkeypatch.setenv("EVERGREEN_LAKE", lake_url)

    with pytest.raises(ConfigError, match=f"lies in file://.* EVERGREEN_LAKE says {lake_url}"):
        lake.publish(pipeline, stage("b", d2013_07_01=["b"]), [FIRST])
