"""Backup and restore where tables and models are in an object store: rows and metadata travel, data files stay."""

import pytest

from include import lake
from include.backup import back_up
from include.catalog import open_table
from include.errors import BackupError
from include.filesystems import files_below, filesystem_of, location_of
from include.ledger import nights, open_ledger, session
from include.restore import restore
from include.settings import load_settings

NAME = "flight_delays"
FIRST, SECOND = "2013-07-01", "2013-07-02"


@pytest.fixture
def archive(tmp_path_factory):
    return tmp_path_factory.mktemp("backups") / "evergreen.zip"


def publish(pipeline, staged, day):
    snapshot, rows = lake.publish(pipeline, staged, [day])
    with open_ledger() as ledger:
        nights.record_partition(
            ledger, NAME, day, status="published", rows=rows, quarantined=0, run_key=snapshot, report=""
        )


def keys_of():
    return lake.read_clean(NAME, FIRST, SECOND, ["flight_id"])["flight_id"].to_pylist()


def lose_the_databases():
    for path in load_settings().data.glob("**/*.db*"):
        path.unlink()
    session._engine.cache_clear()  # a restore is a process of its own


def test_what_was_backed_up_is_there_again_also_where_the_metadata_was_lost(store, pipeline, stage, archive):
    publish(pipeline, stage("a", d2013_07_01=["a"]), FIRST)
    manifest = back_up(archive)
    assert manifest["lake"] == store
    assert list(manifest["needed"]) == [f"{NAME}/staged/a/data/_p={FIRST}/part-0.parquet"]
    publish(pipeline, stage("b", d2013_07_02=["b"]), SECOND)
    files, _ = filesystem_of(store)
    for path in files_below(f"{open_table(NAME).location()}/metadata"):
        files.rm_file(str(path))
    lose_the_databases()

    restore(archive)

    assert keys_of() == ["a"]
    with open_ledger() as ledger:
        assert nights.published_days(ledger, NAME) == [FIRST]
    publish(pipeline, stage("c", d2013_07_02=["c"]), SECOND)
    assert keys_of() == ["a", "c"]


def test_a_lost_data_file_is_noticed_before_anything_is_changed(store, pipeline, stage, archive):
    publish(pipeline, stage("a", d2013_07_01=["a"]), FIRST)
    back_up(archive)
    files, _ = filesystem_of(store)
    (uri,) = lake.clean_files(NAME)[1][FIRST]
    files.rm_file(str(location_of(uri)))

    with pytest.raises(BackupError, match=f"1 of 1 data files .*{store}/{NAME}/staged/a/"):
        restore(archive, force=True)


def test_an_archive_is_not_restored_over_another_lake(store, pipeline, stage, archive, monkeypatch):
    publish(pipeline, stage("a", d2013_07_01=["a"]), FIRST)
    back_up(archive)

    monkeypatch.delenv("EVERGREEN_LAKE")
    with pytest.raises(BackupError, match=f"tables in {store}: restore it with that as EVERGREEN_LAKE"):
        restore(archive, force=True)


def test_what_cannot_be_backed_up_is_said(store, pipeline, archive, monkeypatch):
    with pytest.raises(BackupError, match=f"this one is {store}: let the store keep versions"):
        back_up(archive, with_data=True)

    if store.startswith("s3"):
        monkeypatch.setenv("EVERGREEN_CATALOG_URL", "glue://eu-central-1")
        with pytest.raises(BackupError, match="glue://eu-central-1, whose rows Evergreen cannot copy"):
            back_up(archive)
    assert not archive.exists()
