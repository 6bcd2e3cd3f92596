from pathlib import PurePosixPath

import pytest

from include.filesystems import ACCOUNT, CONNECTION, KEY, azure_account, files_below, location_of


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("/data/a b.parquet", "/data/a b.parquet"),
        ("file:///data/a%20b.parquet", "/data/a b.parquet"),
        ("/data/_p=2020-01-01/100%.parquet", "/data/_p=2020-01-01/100%.parquet"),
        ("s3://bucket/lake/_p=2020-01-01/a.parquet", "bucket/lake/_p=2020-01-01/a.parquet"),
        ("abfs://container/lake", "container/lake"),
    ],
)
def test_a_location_is_the_path_in_its_file_system(url, path):
    assert location_of(url) == PurePosixPath(path)


def test_files_are_listed_with_their_time_and_a_missing_folder_has_none(tmp_path):
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "one").write_text("1")

    (found,) = files_below(tmp_path.as_uri()).items()

    assert found[0] == tmp_path / "deep" / "one"
    assert found[1].timestamp() == pytest.approx((tmp_path / "deep" / "one").stat().st_mtime)
    assert files_below(f"{tmp_path.as_uri()}/none") == {}


def test_an_azure_account_is_named_by_what_azures_own_tools_read(monkeypatch):
    for name in (CONNECTION, ACCOUNT, KEY):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ValueError, match=f"set {ACCOUNT}, or {CONNECTION}"):
        azure_account()

    monkeypatch.setenv(ACCOUNT, "mine")
    assert azure_account() == {"account_name": "mine"}, "without a key, Arrow goes by Azure's default chain"
    monkeypatch.setenv(KEY, "a2V5==")
    assert azure_account() == {"account_name": "mine", "account_key": "a2V5=="}
    monkeypatch.setenv(CONNECTION, "AccountName=theirs;AccountKey=b3Ro==;BlobEndpoint=http://127.0.0.1:9/theirs;")
    assert azure_account() == {
        "account_name": "theirs",
        "account_key": "b3Ro==",
        "blob_storage_authority": "127.0.0.1:9",
        "blob_storage_scheme": "http",
        "dfs_storage_authority": "127.0.0.1:9",
        "dfs_storage_scheme": "http",
    }
    monkeypatch.setenv(CONNECTION, "AccountName=theirs")
    with pytest.raises(ValueError, match="no AccountKey"):
        azure_account()
