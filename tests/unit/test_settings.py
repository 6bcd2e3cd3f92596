import pytest
from pyiceberg.io.pyarrow import PyArrowFileIO

from include.errors import ConfigError
from include.filesystems import filesystem_of, location_of
from include.settings import load_settings, working_in


def test_without_a_lake_everything_lies_in_the_data_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("EVERGREEN_DATA", str(tmp_path))
    monkeypatch.setenv("EVERGREEN_LAKE", "")

    assert load_settings().lake_url is None
    assert load_settings().warehouse == f"file://{tmp_path}/lake"


@pytest.mark.parametrize("url", ["s3://bucket/evergreen", "abfs://container/evergreen", "gs://bucket"])
def test_a_lake_is_a_place_in_an_object_store(monkeypatch, url):
    monkeypatch.setenv("EVERGREEN_LAKE", f"{url}/")

    assert load_settings().warehouse == url


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("/mnt/lake", "A folder, also one that several machines have mounted, is set by EVERGREEN_DATA"),
        ("s3:/bucket", "expected a place in an object store"),
        ("s3://", "such as s3://bucket/evergreen"),
        ("abfs://container@account.dfs.core.windows.net/x", "write abfs://container/folder"),
    ],
)
def test_what_is_no_such_place_is_refused_with_what_to_write(monkeypatch, url, said):
    monkeypatch.setenv("EVERGREEN_LAKE", url)

    with pytest.raises(ConfigError, match=f"EVERGREEN_LAKE is '{url}'.*{said}"):
        load_settings()


def test_work_in_a_folder_of_its_own_touches_neither_lake_nor_catalog(monkeypatch, tmp_path):
    monkeypatch.setenv("EVERGREEN_LAKE", "s3://bucket/evergreen")
    monkeypatch.setenv("EVERGREEN_CATALOG_URL", "glue://eu-central-1")

    with working_in(tmp_path) as settings:
        assert settings.warehouse == f"file://{tmp_path}/lake"
        assert settings.catalog_url == f"sqlite:///{tmp_path}/lake/catalog.db"
    assert (load_settings().lake_url, load_settings().catalog_url) == ("s3://bucket/evergreen", "glue://eu-central-1")


@pytest.mark.parametrize("name", ["My Projects", "Müller"])
def test_tables_lie_in_the_data_folder_whatever_it_is_called(monkeypatch, tmp_path, name):
    monkeypatch.setenv("EVERGREEN_DATA", str(tmp_path / name))
    monkeypatch.delenv("EVERGREEN_LAKE", raising=False)
    settings = load_settings()

    assert PyArrowFileIO.parse_location(settings.warehouse)[2] == str(settings.lake)
    assert filesystem_of(settings.warehouse)[1] == str(settings.lake)
    assert location_of(settings.warehouse) == settings.lake
