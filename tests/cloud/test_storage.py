"""Folders on a storage that machines share: whole and unaltered, or not there; on a disk and on (moto's) S3."""

from collections.abc import Iterator
from pathlib import Path

import boto3
import numpy as np
import pytest
from moto.server import ThreadedMotoServer

from include.errors import ArtefactError
from include.filesystems import filesystem_of
from include.platforms import storage
from include.training.checkpoint import Checkpoints


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    url = f"http://127.0.0.1:{server.get_host_and_port()[1]}"
    with pytest.MonkeyPatch.context() as patch:
        told = {"ACCESS_KEY_ID": "k", "SECRET_ACCESS_KEY": "s", "DEFAULT_REGION": "us-east-1", "ENDPOINT_URL": url}
        for name, value in told.items():
            patch.setenv(f"AWS_{name}", value)
        boto3.client("s3").create_bucket(Bucket="trainings")
        yield "s3://trainings"
    server.stop()


@pytest.fixture(params=["disk", "s3"])
def uri(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    root = f"file://{tmp_path}/storage" if request.param == "disk" else request.getfixturevalue("s3")
    return f"{root}/{tmp_path.name}"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "from" / "deep").mkdir(parents=True)
    (tmp_path / "from" / "one").write_text("1")
    (tmp_path / "from" / "deep" / "two").write_bytes(b"\0" * 100_000)
    return tmp_path / "from"


def test_a_folder_goes_and_comes_back(uri: str, folder: Path, tmp_path: Path) -> None:
    assert not storage.is_whole(f"{uri}/model")

    storage.put_folder(folder, f"{uri}/model")
    storage.fetch_folder(f"{uri}/model", tmp_path / "to")

    assert storage.is_whole(f"{uri}/model")
    assert (tmp_path / "to" / "one").read_text() == "1"
    assert (tmp_path / "to" / "deep" / "two").read_bytes() == b"\0" * 100_000
    storage.remove(uri)
    storage.remove(uri)
    assert not storage.is_whole(f"{uri}/model")


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("one", b"2", "sha256 is"),
        ("files.json", b'{"../../out": "0"}', "lies elsewhere"),
        ("files.json", b'{"three": "0"}', "three is not there"),
    ],
)
def test_what_is_not_what_was_put_there_is_refused(
    name: str, content: bytes, said: str, uri: str, folder: Path, tmp_path: Path
) -> None:
    storage.put_folder(folder, uri)
    files, there = filesystem_of(uri)
    with files.open(f"{there}/{name}", "wb") as file:
        file.write(content)

    with pytest.raises(ArtefactError, match=said):
        storage.fetch_folder(uri, tmp_path / "to")


def test_checkpoints_are_kept_there(uri: str) -> None:
    kept = Checkpoints(f"{uri}/checkpoints", "a recipe", 60)
    for step in (1, 2, 3):
        kept.save(step, {"weights": np.full(10, step)}, {})

    found = Checkpoints(f"{uri}/checkpoints", "a recipe", 60).newest()

    assert found is not None
    assert (found.step, found.arrays["weights"][0]) == (3, 3)
    assert Checkpoints(f"{uri}/checkpoints", "another", 60).newest() is None
