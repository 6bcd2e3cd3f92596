import pytest

from include.errors import BackupError
from include.restore import restore


def test_an_archive_that_is_not_there_is_named(settings, tmp_path):
    with pytest.raises(BackupError, match=r"nope\.zip: there is no such file"):
        restore(tmp_path / "nope.zip")

    assert not settings.data.exists()
