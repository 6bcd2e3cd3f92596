"""This file brings a training's rows to S3 and its model back: checked, and whole or not at all."""

import shutil
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import IO, Any, cast

import pyarrow.parquet as pq
from botocore.exceptions import ClientError

from include.errors import ArtefactError
from include.platforms.aws_request import MODEL, request_folder, rows_folder
from include.platforms.aws_settings import AwsSettings
from include.platforms.inputs import days_to_send
from include.settings import load_settings
from include.training.finished import is_finished
from include.training.spec import Spec

# What a model's folder holds; nothing that could run when it is read.
KINDS = {".onnx", ".json", ".parquet", ".md", ".png"}


class Bucket:
    """The folder of S3 that trainings are sent to and come back from."""

    def __init__(self, client: Any, settings: AwsSettings) -> None:
        self._s3 = client
        self._settings = settings
        self._sealed = {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": key} if (key := settings.kms_key) else {}

    def send_spec(self, name: str, spec: Spec) -> None:
        """Send a job its spec, and the pipeline's YAML that goes with it."""
        folder = f"{request_folder(spec, self._settings)}/{name}/spec"
        self._put(f"{folder}/spec.json", spec.model_copy(update={"rows": None}).model_dump_json().encode())
        yaml = f"{spec.pipeline}.yaml"
        self._put(f"{folder}/{yaml}", (load_settings().pipelines / yaml).read_bytes())

    def send_rows(self, spec: Spec) -> None:
        """Send the rows of a spec's days as they are in its snapshot, one file a day, unless they are there."""
        folder = rows_folder(spec, self._settings)
        if self._exists(f"{folder}.done"):
            return
        with tempfile.TemporaryDirectory(prefix=".rows-") as scratch:
            for path in _files_of(spec, Path(scratch)):
                self._s3.upload_file(
                    str(path), self._settings.bucket, f"{folder}/{path.name}", ExtraArgs=self._sealed or None
                )
        self._put(f"{folder}.done", b"")

    def fetch_model(self, uri: str, spec: Spec) -> None:
        """Bring a model to the spec's folder.

        :raises ArtefactError: if nothing came, or not this request's model, whole and unaltered.
        """
        spec.folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".collect-", dir=spec.folder.parent) as scratch:
            packed = Path(scratch) / "model.tar.gz"
            bucket, _, key = uri.removeprefix("s3://").partition("/")
            try:
                self._s3.download_file(bucket, key, str(packed))
            except ClientError as error:
                if error.response.get("Error", {}).get("Code") not in {"404", "NoSuchKey"}:
                    raise
                raise ArtefactError(f"{uri}: there is no model any more. Train again.") from error
            unpack(packed, Path(scratch))
            found = spec.model_copy(update={"folder": Path(scratch) / MODEL})
            if not is_finished(found):
                raise ArtefactError(
                    f"{uri}: not the model of {spec.request_id}, or not as its manifest says. It was left where it is, "
                    "and is not used: see who can write there, and train again."
                )
            if not is_finished(spec):
                shutil.rmtree(spec.folder, ignore_errors=True)
                found.folder.replace(spec.folder)

    def remove(self, spec_or_prefix: str) -> None:
        """Remove all below a key."""
        pages = self._s3.get_paginator("list_objects_v2")
        for page in pages.paginate(Bucket=self._settings.bucket, Prefix=f"{spec_or_prefix}/"):
            keys = [{"Key": each["Key"]} for each in page.get("Contents", [])]
            if keys:
                self._s3.delete_objects(Bucket=self._settings.bucket, Delete={"Objects": keys, "Quiet": True})

    def _put(self, key: str, content: bytes) -> None:
        self._s3.put_object(Bucket=self._settings.bucket, Key=key, Body=content, **self._sealed)

    def _exists(self, key: str) -> bool:
        with suppress(ClientError):
            self._s3.head_object(Bucket=self._settings.bucket, Key=key)
            return True
        return False


def unpack(packed: Path, folder: Path) -> None:
    """Unpack the model's folder from what SageMaker has packed up.

    :raises ArtefactError: if it holds what does not belong there: links, paths that lead elsewhere, things that run.
    """
    with tarfile.open(packed) as archive:
        for member in archive:
            path = PurePosixPath(member.name)
            parts = [part for part in path.parts if part != "."]
            if not parts or parts[0] != MODEL or member.isdir():
                continue  # the training's own scratch, which a stopped one leaves
            if not member.isreg() or ".." in parts or path.is_absolute() or path.suffix not in KINDS:
                raise ArtefactError(f"{packed.name} holds {member.name}, which is no part of a model. It is not used.")
            # Content alone, no owner or mode: `extract(filter="data")` needs 3.11.4, Debian 12 has 3.11.2.
            target, content = folder.joinpath(*parts), archive.extractfile(member)
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("wb") as file:
                shutil.copyfileobj(cast("IO[bytes]", content), file)


def _files_of(spec: Spec, scratch: Path) -> Iterator[Path]:
    for day, table in days_to_send(spec):
        path = scratch / f"{day}.parquet"
        pq.write_table(table, path)
        yield path
        path.unlink()
