"""What comes back from S3 is looked at before it is used."""

import io
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from include.errors import ArtefactError
from include.platforms.aws_files import Bucket, unpack
from include.training.spec import Spec


def packed(path: Path, *members: tuple[str, str, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name, kind, content in members:
            member = tarfile.TarInfo(name)
            member.type = {"file": tarfile.REGTYPE, "link": tarfile.SYMTYPE, "hard": tarfile.LNKTYPE}[kind]
            if kind == "file":
                member.size = len(content)
            else:
                member.linkname = content.decode()
            archive.addfile(member, io.BytesIO(content))
    return path


@pytest.mark.parametrize(
    "member",
    [
        ("evergreen/../../escaped.json", "file", b"{}"),
        ("evergreen/model.pkl", "file", b"cos\nsystem\n"),
        ("evergreen/model.onnx", "link", b"/etc/passwd"),
        ("evergreen/model.onnx", "hard", b"/etc/passwd"),
        ("evergreen/run.sh", "file", b"#!/bin/sh"),
    ],
)
def test_what_leads_elsewhere_or_could_run_is_refused(member: tuple[str, str, bytes], tmp_path: Path) -> None:
    (tmp_path / "inside").mkdir()

    with pytest.raises(ArtefactError, match="no part of a model"):
        unpack(packed(tmp_path / "model.tar.gz", member), tmp_path / "inside")

    assert list(tmp_path.rglob("*.*")) == [tmp_path / "model.tar.gz"]


def test_what_lies_beside_the_model_is_left_where_it_is(tmp_path: Path) -> None:
    path = packed(
        tmp_path / "model.tar.gz",
        ("../escaped.json", "file", b"{}"),
        ("/evergreen/absolute.json", "file", b"{}"),
        ("evergreen.training/rows.parquet", "file", b"x"),
        ("./evergreen/plots/loss.png", "file", b"x"),
    )
    unpack(path, tmp_path / "inside")

    assert [each for each in (tmp_path / "inside").rglob("*") if each.is_file()] == [
        tmp_path / "inside" / "evergreen" / "plots" / "loss.png"
    ]


@pytest.fixture
def fetch(make_model: Callable[..., tuple[str, str]], tmp_path: Path) -> Callable[..., Path]:
    """Return a function that fetches a model which was packed up after something was done to it."""

    def fetch(harm: Callable[[Path], Any], request_id: str = "one") -> Path:
        folder = Path(make_model("made", request_id=request_id)[0])
        harm(folder)
        with tarfile.open(tmp_path / "there.tar.gz", "w:gz") as archive:
            archive.add(folder, "evergreen")
        client = SimpleNamespace(download_file=lambda _bucket, _key, to: shutil.copy(tmp_path / "there.tar.gz", to))
        spec = Spec.model_construct(request_id="one", folder=tmp_path / "models" / "one")
        Bucket(client, SimpleNamespace(kms_key=None)).fetch_model("s3://bucket/key", spec)
        return spec.folder

    return fetch


def test_a_model_arrives_whole(fetch: Callable[..., Path]) -> None:
    folder = fetch(lambda _folder: None)

    assert {path.name for path in folder.iterdir()} >= {"model.onnx", "manifest.json", "holdout.parquet"}
    assert [path.name for path in folder.parent.iterdir()] == ["one"]


def test_an_altered_model_or_another_request_s_is_not_used(fetch: Callable[..., Path], tmp_path: Path) -> None:
    with pytest.raises(ArtefactError, match="not the model of one, or not as its manifest says"):
        fetch(lambda folder: (folder / "model.onnx").write_bytes(b"another"))
    shutil.rmtree(tmp_path / "data" / "models")
    with pytest.raises(ArtefactError, match="not the model of one"):
        fetch(lambda _folder: None, request_id="two")

    assert list((tmp_path / "models").iterdir()) == []
