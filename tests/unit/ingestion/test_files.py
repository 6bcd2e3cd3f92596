import fsspec
import pytest

from include.errors import ConfigError
from include.ingestion import files
from include.sources import Files

DAY = "2020-01-01"


def write(path, content: bytes = b"a\n1\n"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def test_a_relative_path_lies_in_the_data_folder(settings):
    source = Files(path="in/{date}.csv")
    assert not files.is_delivered(source, DAY)
    assert files.fetch(source, DAY) == []

    write(settings.data / "in" / f"{DAY}.csv")

    [found] = files.fetch(source, DAY)
    assert files.is_delivered(source, DAY)
    assert (found.origin, found.suffix, found.content) == (str(settings.data / f"in/{DAY}.csv"), ".csv", b"a\n1\n")


def test_a_pattern_finds_all_files_of_a_day_in_the_order_of_their_names(settings):
    for name in (f"{DAY}/b.csv.gz", f"{DAY}/a.csv.gz", "2020-01-02/c.csv.gz", f"{DAY}/note.txt"):
        write(settings.data / name)

    found = files.fetch(Files(path="{date}/*.csv.gz"), DAY)

    assert [(each.origin.rpartition("/")[2], each.suffix) for each in found] == [
        ("a.csv.gz", ".csv.gz"),
        ("b.csv.gz", ".csv.gz"),
    ]


def test_a_day_with_a_marker_is_complete_when_the_marker_is_there(settings):
    source = Files(path="{date}/*.csv", marker="{date}/_SUCCESS")
    write(settings.data / DAY / "a.csv")
    assert not files.is_delivered(source, DAY)

    write(settings.data / DAY / "_SUCCESS", b"")

    assert files.is_delivered(source, DAY)


def test_the_format_can_be_said_where_the_name_does_not(settings):
    write(settings.data / f"{DAY}.dat.gz")

    [found] = files.fetch(Files(path="{date}.dat.gz", format="jsonl"), DAY)

    assert found.suffix == ".jsonl.gz"


def test_a_url_is_read_through_fsspec():
    memory = fsspec.filesystem("memory")
    memory.pipe({f"/bucket/{DAY}/1.csv": b"a\n1\n", f"/bucket/{DAY}/2.csv": b"a\n2\n"})

    found = files.fetch(Files(path="memory://bucket/{date}/*.csv"), DAY)

    assert [each.content for each in found] == [b"a\n1\n", b"a\n2\n"]


def test_a_file_url_is_a_path(tmp_path):
    write(tmp_path / f"{DAY}.csv")

    assert files.is_delivered(Files(path=f"file://{tmp_path}/{{date}}.csv"), DAY)


def test_a_scheme_nobody_knows_is_a_mistake_in_the_yaml():
    with pytest.raises(ConfigError, match="nope://.*csv: .*nope"):
        files.is_delivered(Files(path="nope://bucket/{date}.csv"), DAY)
