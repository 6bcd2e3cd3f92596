import pytest

from include.atomic import replacing, write_text


def test_a_file_is_replaced_as_a_whole(tmp_path):
    write_text(tmp_path / "new" / "a.txt", "one")
    write_text(tmp_path / "new" / "a.txt", "two")

    assert [path.read_text() for path in (tmp_path / "new").iterdir()] == ["two"]


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    write_text(tmp_path / "a.txt", "old")

    def fail() -> None:
        with replacing(tmp_path / "a.txt") as temporary:
            temporary.write_text("half")
            raise TimeoutError

    with pytest.raises(TimeoutError):
        fail()

    assert [path.read_text() for path in tmp_path.iterdir()] == ["old"]
