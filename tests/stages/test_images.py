"""The images `train` and `serve` hold what they import, without Airflow, in the versions of the whole."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from include import artefact
from include.settings import ROOT
from include.training.spec import Spec
from tests.stages.training.conftest import make_spec, rows  # noqa: F401 - fixtures


def run(image: str, **env: str) -> subprocess.CompletedProcess[str]:
    script = str(Path(__file__).with_name("images.py"))
    return subprocess.run(
        [sys.executable, script, image],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)} | env,
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_training_needs_no_more_than_its_image_holds(
    rides: Any,
    rows: pa.Table,  # noqa: F811
    make_spec: Callable[..., Spec],  # noqa: F811
    tmp_path: Path,
) -> None:
    (tmp_path / "rows").mkdir()
    pq.write_table(rows, tmp_path / "rows" / "a.parquet")
    spec = make_spec(rows=tmp_path / "rows", folder=tmp_path / "model", snapshot_id=None)

    done = run("train", EVERGREEN_SPEC=spec.model_dump_json(), MLFLOW_TRACKING_URI="http://127.0.0.1:1")

    assert done.returncode == 0, done.stdout + done.stderr
    assert artefact.read_manifest(spec.folder)["metrics"]["auc"] > 0.7


def test_the_endpoint_needs_no_more_than_its_image_holds() -> None:
    done = run("serve")

    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("image", ["train", "serve"])
def test_versions_are_those_of_the_whole(image: str) -> None:
    def pins(name: str) -> set[str]:
        return set(re.findall(r"^([\w.-]+).*?(==\S+)", (ROOT / name).read_text(), re.MULTILINE))

    assert pins(f"requirements-{image}.txt") < pins("requirements.txt")
