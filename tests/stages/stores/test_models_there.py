"""Models in an object store: put there by the gate, served, verified, kept and erased as on the disk."""

import json
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from include import artefact, erasure, gatekeeping, housekeeping, models, verification
from include.errors import ArtefactError
from include.filesystems import CONNECTION, files_below, filesystem_of
from include.ledger import open_ledger, releases
from include.pipeline import Pipeline
from include.scoring.scorer import scorer_of
from include.settings import Settings, load_settings
from tests.unit.test_gatekeeping import challenge, tags  # noqa: F401 - fixtures

KEY = "r7"


@pytest.fixture
def judged(store: str, rides: Pipeline, challenge: Callable[..., str]) -> str:  # noqa: F811
    """A release that the gate has approved; return its id."""
    return gatekeeping.evaluate(rides, challenge("one", 1.0))


@pytest.fixture
def elsewhere(judged: str, settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Settings:
    """The same installation on another machine: the ledger and the store are shared, the disk is empty."""
    monkeypatch.setenv("EVERGREEN_LEDGER_URL", settings.ledger_url)
    monkeypatch.setenv("EVERGREEN_DATA", str(tmp_path / "another"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")
    return load_settings()


def release_of(release_id: str) -> Any:
    with open_ledger() as session:
        return releases.get_release(session, release_id)


def test_the_gate_puts_a_model_there_whole(judged, store, settings):
    release = release_of(judged)

    assert release.status == "approved"
    assert release.model_uri == f"{store}/rides/models/rides.hand.one"
    _, there = filesystem_of(release.model_uri)
    names = {str(path.relative_to(there)) for path in files_below(release.model_uri)}
    assert names == {"files.json", artefact.MODEL, artefact.MANIFEST, artefact.HOLDOUT, artefact.REFERENCE}


def test_judging_again_on_another_machine_changes_nothing(judged, elsewhere, rides):
    assert gatekeeping.evaluate(rides, "rides.hand.one") == judged


def test_another_machine_serves_it_to_the_verification_and_scores(judged, elsewhere, rides):
    verification.verify(judged)  # an endpoint of its own, in a process of its own, with a disk of its own

    seen = release_of(judged).rollout["verified"]
    assert seen["rows"] == 1000
    assert scorer_of(rides, 1).content == artefact.read_checked(release_of(judged).model_uri, release_of(judged).sha256)


def test_a_model_that_is_here_unaltered_is_not_fetched_again(judged, elsewhere):
    uri = release_of(judged).model_uri
    folder = models.folder_of(uri)
    before = (folder / artefact.MODEL).stat().st_ino

    assert models.folder_of(uri) == folder == elsewhere.models / "rides" / "rides.hand.one"
    assert (folder / artefact.MODEL).stat().st_ino == before
    (folder / artefact.HOLDOUT).write_bytes(b"altered")
    assert pq.read_table(models.folder_of(uri) / artefact.HOLDOUT).num_rows == 1000
    assert not list(folder.parent.glob(".*")), "nothing half-fetched is left"


def test_a_model_that_was_altered_there_is_not_loaded(judged, elsewhere):
    release = release_of(judged)
    files, there = filesystem_of(release.model_uri)
    files.pipe_file(f"{there}/{artefact.MODEL}", b"another one")
    with pytest.raises(ArtefactError, match=r"model.onnx: sha256 is .* altered"):
        artefact.load_session(release.model_uri, release.sha256)

    # Whoever can write there can write the list as well; what the ledger has registered is checked all the same.
    listed = json.loads(files.cat_file(f"{there}/files.json"))
    listed[artefact.MODEL] = artefact.sha256_of(b"another one")
    files.pipe_file(f"{there}/files.json", json.dumps(listed).encode())
    with pytest.raises(ArtefactError, match=f"expected {release.sha256}"):
        artefact.load_session(release.model_uri, release.sha256)


def test_a_model_that_is_not_there_is_named(store, settings):
    with pytest.raises(ArtefactError, match=f"{store}/rides/models/none is not there"):
        artefact.read_manifest(f"{store}/rides/models/none")


def test_housekeeping_removes_there_what_nobody_needs(judged, store, rides, challenge, settings):  # noqa: F811
    loser = gatekeeping.evaluate(rides, challenge("two", -1.0))
    assert release_of(loser).status == "rejected"
    shutil.rmtree(settings.models)  # as on a machine that has trained neither

    assert "models" not in housekeeping.keep_house(rides, datetime.now(UTC)), "young"
    removed = housekeeping.keep_house(rides, datetime.now(UTC) + timedelta(days=100))

    assert removed["models"]["count"] == 1
    assert list(models.kept("rides")) == [f"{store}/rides/models/rides.hand.one"]
    assert not models.copy_of(release_of(loser).model_uri).exists()


def test_a_subject_is_erased_there_and_from_the_copies(judged, store, rides, elsewhere):
    uri, sha256 = release_of(judged).model_uri, release_of(judged).sha256
    assert KEY in pq.read_table(models.folder_of(uri) / artefact.HOLDOUT)["ride_id"].to_pylist()

    outcome = erasure.erase(rides, KEY, really=True)

    assert sum(outcome.erased.values()) == 1
    shutil.rmtree(elsewhere.models)
    assert KEY not in pq.read_table(models.folder_of(uri) / artefact.HOLDOUT)["ride_id"].to_pylist()
    assert artefact.load_session(uri, sha256)


def test_an_erasure_that_was_killed_while_it_wrote_there_is_finished_by_the_next(judged, rides, elsewhere, monkeypatch):
    uri = release_of(judged).model_uri
    put_folder = models.keep

    def killed(pipeline_name: str, folder: Path) -> str:
        files, there = filesystem_of(uri)
        files.put_file(str(folder / artefact.HOLDOUT), f"{there}/{artefact.HOLDOUT}")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(models, "keep", killed)
        with pytest.raises(KeyboardInterrupt):
            erasure.erase(rides, KEY, really=True)
    assert models.keep is put_folder

    erasure.erase(rides, KEY, really=True)

    shutil.rmtree(elsewhere.models)
    assert KEY not in pq.read_table(models.folder_of(uri) / artefact.HOLDOUT)["ride_id"].to_pylist()


def test_a_subject_in_the_published_rows_is_named(judged, store, rides, tmp_path):
    files, there = filesystem_of(f"{store}/rides/staged")
    pq.write_table(pa.table({"ride_id": [KEY, "r8"]}), tmp_path / "day.parquet")
    files.put_file(str(tmp_path / "day.parquet"), f"{there}/a/data/_p=2020-01-01/part-0.parquet")

    outcome = erasure.erase(rides, KEY, really=False)

    assert outcome.elsewhere == {f"{there}/a/data/_p=2020-01-01/part-0.parquet": 1}


@pytest.mark.parametrize("store", ["azure"], indirect=True)
def test_while_the_store_does_not_answer_the_copy_does(judged, elsewhere, monkeypatch, azurite):
    release = release_of(judged)
    models.folder_of(release.model_uri)

    with monkeypatch.context() as patch:
        patch.setenv(CONNECTION, azurite.split("BlobEndpoint=")[0] + "BlobEndpoint=http://127.0.0.1:1/devstoreaccount1")
        assert artefact.load_session(release.model_uri, release.sha256)
        shutil.rmtree(elsewhere.models)
        with pytest.raises(OSError, match="127.0.0.1:1"):
            artefact.load_session(release.model_uri, release.sha256)
