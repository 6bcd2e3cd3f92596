import pytest

from include.backup import CATALOG_ROWS, back_up
from include.catalog import sql_catalog
from include.errors import BackupError


def test_a_data_folder_that_was_moved_is_refused_with_the_place_it_came_from(settings, tmp_path):
    made_in = tmp_path / "before"
    with sql_catalog().engine.begin() as connection:
        connection.execute(
            CATALOG_ROWS.tables["iceberg_tables"].insert(),
            {
                "catalog_name": "evergreen",
                "table_namespace": "evergreen",
                "table_name": "rides",
                "metadata_location": f"file://{made_in}/lake/evergreen/rides/metadata/1.metadata.json",
            },
        )

    with pytest.raises(BackupError, match=rf"{settings.data} was moved or copied: .* EVERGREEN_DATA={made_in},"):
        back_up(tmp_path / "backup.zip")

    assert not (tmp_path / "backup.zip").exists()
