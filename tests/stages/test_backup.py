"""Backup and restore, on real tables, a real MLflow database, and either ledger."""

import json
import shutil
import sqlite3
import zipfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import date
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from mlflow import MlflowClient

from include import artefact, lake, registry
from include.artefact import read_manifest, sha256_of
from include.backup import back_up
from include.catalog import open_catalog
from include.errors import BackupError, SchemaError, StackError
from include.ledger import Request, nights, open_ledger, pauses, releases, requests, session
from include.promotion import reconcile
from include.restore import restore
from include.serving.state import read_state
from include.settings import load_settings
from include.stack import Stack

DAYS = ["2020-01-01", "2020-01-02"]
MANIFEST = {
    "pipeline": "rides",
    "request_id": "rides.hand.one",
    "reason": "a test",
    "train_days": DAYS,
    "holdout_days": DAYS,
    "train_rows": 900,
    "holdout_rows": 1000,
    "losses": [0.5],
    "curves": {"loss": [0.5]},
    "metrics": {"auc": 0.7},
    "parameters": {"epochs": 1},
}
ABOUT = {
    "model_uri": "/m",
    "sha256": "0",
    "tracking_run": "",
    "judged_until": DAYS[1],
    "quality": 0.7,
    "metrics": {"auc": float("nan")},
    "gate": {},
}


@pytest.fixture
def publish(rides):
    """Publish one row a day, by the given key."""

    def publish(key, *days):
        folder = load_settings().lake / "rides" / "staged" / key
        staged = {}
        for day in days:
            file = folder / "data" / f"_p={day}" / "part-0.parquet"
            file.parent.mkdir(parents=True)
            pq.write_table(pa.table({"ride_id": [key], "day": [date.fromisoformat(day)]}), file)
            staged[day] = {"rows": 1, "quarantined": 0, "files": [str(file)]}
        (folder / "staged.json").write_text(json.dumps({"folder": str(folder), "days": staged, "rules": {}}))
        return lake.publish(rides, str(folder / "staged.json"), list(days))[0]

    return publish


@pytest.fixture
def promote(make_model, settings):
    """Enter a trained model as the champion; in ledger, MLflow and declared state."""

    def promote(number):
        folder, sha256 = make_model(f"rides.hand.{number}", **{**MANIFEST, "request_id": f"rides.hand.{number}"})
        run = registry.log_training(Path(folder), {**read_manifest(folder), "sha256": sha256})
        with open_ledger() as ledger:
            champion = releases.champion_of(ledger, "rides")
            request = requests.file_request(
                ledger, "rides", reason="asked", triggered_by="hand", key=str(number), detail={"n": number}
            )
            about = {**ABOUT, "model_uri": folder, "sha256": sha256, "tracking_run": run}
            release = releases.add_release(
                ledger, "rides", request.id, compared_with=champion and champion.version, **about
            )
            releases.judge(ledger, release.id, approved=True, note="good")
            releases.finish_promotion(ledger, release.id, releases.begin_promotion(ledger, release.id))
        registry.register(release.id)
        reconcile("rides")
        return release.id

    return promote


@pytest.fixture
def installation(lose_everything, settings, fresh_mlflow, publish, promote, monkeypatch):
    """Two published days, a champion served, all of it in MLflow; return the data folder."""
    settings.data.mkdir()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{settings.data / 'mlflow.db'}")
    shutil.copy(fresh_mlflow, settings.data / "mlflow.db")
    publish("one", *DAYS)
    with open_ledger() as ledger:
        for day in DAYS:
            nights.record_partition(
                ledger, "rides", day, status="published", rows=1, quarantined=0, run_key="one", report=""
            )
    promote(1)
    return settings.data


@pytest.fixture(params=["sqlite", "postgresql"])
def lose_everything(request, settings, monkeypatch):
    """Ledger and catalog in files, or in PostgreSQL; and a function that loses them, with the folder."""

    def point_at_empty_databases():
        if request.param == "postgresql":
            make = request.getfixturevalue("postgres")
            monkeypatch.setenv("EVERGREEN_LEDGER_URL", make())
            monkeypatch.setenv("EVERGREEN_CATALOG_URL", make())

    def lose():
        shutil.rmtree(settings.data)
        session._engine.cache_clear()  # a restore is a process of its own
        point_at_empty_databases()

    point_at_empty_databases()
    return lose


@pytest.fixture
def archive(tmp_path):
    return tmp_path / "backups" / "evergreen.zip"


def rows_of_the_ledger():
    with open_ledger() as ledger:
        known = [
            *nights.partitions_of(ledger, "rides"),
            *releases.releases_of(ledger, "rides"),
            *requests.unfinished_requests(ledger, "rides"),
        ]
    return [{name: repr(value) for name, value in vars(row).items() if not name.startswith("_")} for row in known]


def without_fences(rows):
    return [{name: value for name, value in row.items() if name != "fence"} for row in rows]


def keys():
    return lake.read_clean("rides", *DAYS, ["ride_id"])["ride_id"].to_pylist()


def rewritten(archive, change):
    """Write an archive anew with some members changed."""
    target = archive.with_name("rewritten.zip")
    with zipfile.ZipFile(archive) as source, zipfile.ZipFile(target, "w") as copy:
        for name in source.namelist():
            copy.writestr(name, change(name, source.read(name)))
    return target


def test_a_lost_installation_comes_back_as_it_was(installation, settings, archive, publish, lose_everything):
    before, snapshot = rows_of_the_ledger(), lake.current_snapshot("rides")
    manifest = back_up(archive, with_data=True)
    assert manifest["needed"] == {}
    lose_everything()

    restore(archive)

    assert without_fences(rows_of_the_ledger()) == without_fences(before)
    assert (keys(), lake.current_snapshot("rides")) == (["one", "one"], snapshot)
    version = MlflowClient(tracking_uri=f"sqlite:///{installation / 'mlflow.db'}").get_model_version_by_alias(
        "rides", "champion"
    )
    assert version.tags["evergreen_version"] == "1"
    assert Path(version.source.removeprefix("file://"), "model.onnx").is_file()
    with open_ledger() as ledger:
        champion = releases.champion_of(ledger, "rides")
    state = read_state(settings, "rides")
    assert (state.version, state.generation, state.sha256) == (1, champion.fence, champion.sha256)
    publish("after", DAYS[1])
    assert keys() == ["one", "after"]


def test_what_came_after_the_backup_is_undone_by_force_alone(installation, settings, archive, publish, promote):
    back_up(archive)
    before = rows_of_the_ledger()
    publish("two", DAYS[0])
    promote(2)

    with pytest.raises(BackupError, match=r"already \(rows in: .*releases.*--force"):
        restore(archive)
    assert keys() == ["two", "one"]
    restore(archive, force=True)

    assert without_fences(rows_of_the_ledger()) == without_fences(before)
    assert keys() == ["one", "one"]
    assert read_state(settings, "rides").version == 1
    restore(archive, force=True)
    assert without_fences(rows_of_the_ledger()) == without_fences(before)


def test_rows_entered_after_a_restore_do_not_meet_those_restored(installation, archive, lose_everything):
    with open_ledger() as ledger:
        first = pauses.pause(ledger, "rides", by="me", reason="a storm").id
    back_up(archive, with_data=True)
    lose_everything()
    restore(archive)

    with open_ledger() as ledger:
        assert pauses.resume(ledger, "rides", by="me").id == first
        ledger.flush()
        assert pauses.pause(ledger, "rides", by="me", reason="another").id > first


def test_a_backup_made_while_days_are_published_and_models_promoted_is_whole(
    installation, settings, archive, publish, promote
):
    def work():
        for number in range(2, 6):
            publish(str(number), *DAYS)
            promote(number)

    with ThreadPoolExecutor(1) as pool:
        working = pool.submit(work)
        made = 0
        while not working.done():
            made += 1
            back_up(archive.with_name(f"{made}.zip"))
        working.result()

    for number in range(1, made + 1):
        restore(archive.with_name(f"{number}.zip"), force=True)
        with open_ledger() as ledger:
            champion = releases.champion_of(ledger, "rides")
        assert read_state(settings, "rides").version == champion.version
        assert artefact.load_session(champion.model_uri, champion.sha256)
        assert len(set(keys())) == 1, "each publication replaced both days at once"
    assert made > 1


def test_without_data_the_files_must_still_be_there(installation, archive):
    assert len(back_up(archive)["needed"]) == len(DAYS)
    lost = sorted(installation.glob("lake/rides/staged/*/data/*/*.parquet"))[0]
    lost.unlink()
    before = rows_of_the_ledger()

    with pytest.raises(BackupError, match=rf"1 of 2 data files .* gone or altered.*{lost.name}.*--with-data"):
        restore(archive, force=True)
    assert rows_of_the_ledger() == before


def test_an_interrupted_promotion_waits_to_be_deployed_again(installation, settings, archive, promote):
    promote(2)
    with open_ledger() as ledger:  # on the way back to version 1, and to a third one
        releases.begin_promotion(ledger, "rides.v1", again_from=("retired",))
        third = releases.add_release(ledger, "rides", "r3", compared_with=2, **ABOUT)
        releases.judge(ledger, third.id, approved=True, note="")
        newest = releases.begin_promotion(ledger, third.id)
    back_up(archive)

    restore(archive, force=True)

    with open_ledger() as ledger:
        statuses = {release.version: release.status for release in releases.releases_of(ledger, "rides")}
    assert statuses == {1: "retired", 2: "champion", 3: "approved"}
    state = read_state(settings, "rides")
    assert state.version == 2
    assert state.generation > newest


@pytest.mark.parametrize("lose_everything", ["sqlite"], indirect=True)
class TestRefusals:
    """What is the same on either database."""

    def test_an_altered_archive_is_refused_and_nothing_changed(self, installation, archive):
        back_up(archive)
        altered = rewritten(archive, lambda name, old: old + b"x" if name.endswith("model.onnx") else old)
        before = rows_of_the_ledger()

        with pytest.raises(BackupError, match=r"model\.onnx' is not what was backed up"):
            restore(altered, force=True)
        assert rows_of_the_ledger() == before
        assert list(installation.glob(".restore-*")) == []

    @pytest.mark.parametrize("content", [b"", b"no archive"])
    def test_a_file_that_is_no_backup_is_refused(self, installation, archive, content):
        archive.parent.mkdir()
        archive.write_bytes(content)

        with pytest.raises(BackupError, match="not a whole backup"):
            restore(archive, force=True)

    def test_half_an_archive_is_refused(self, installation, archive):
        back_up(archive)
        archive.write_bytes(archive.read_bytes()[:-1000])

        with pytest.raises(BackupError, match="not a whole backup"):
            restore(archive, force=True)

    def test_another_place_is_refused(self, installation, archive, tmp_path, monkeypatch):
        back_up(archive)
        monkeypatch.setenv("EVERGREEN_DATA", str(tmp_path / "elsewhere"))

        with pytest.raises(BackupError, match=rf"EVERGREEN_DATA={installation}"):
            restore(archive)

    def test_running_services_are_not_pulled_the_rug_from_under(self, installation, archive, monkeypatch):
        back_up(archive)
        monkeypatch.setattr(Stack, "is_up", lambda _self: True)

        with pytest.raises(BackupError, match="make down"):
            restore(archive, force=True)

    def test_a_restore_that_was_killed_keeps_the_services_down_until_it_is_repeated(
        self, installation, settings, archive, monkeypatch
    ):
        back_up(archive)
        with monkeypatch.context() as patched:
            patched.setattr("include.restore.copy_sqlite", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
            with pytest.raises(KeyboardInterrupt):
                restore(archive, force=True)

        with pytest.raises(StackError, match="half restored"):
            Stack(settings).check()
        restore(archive)
        assert not settings.restoring.exists()

    def test_an_archive_of_a_newer_schema_is_refused_and_nothing_changed(self, installation, archive, tmp_path):
        back_up(archive)
        newer = tmp_path / "newer.db"
        newer.write_bytes(zipfile.ZipFile(archive).read("ledger.db"))
        with closing(sqlite3.connect(newer)) as ledger, ledger:
            ledger.execute("UPDATE alembic_version SET version_num = '9999'")
        manifest = json.loads(zipfile.ZipFile(archive).read("manifest.json"))
        sealed = {"bytes": newer.stat().st_size, "sha256": sha256_of(newer.read_bytes())}
        manifest["files"]["ledger.db"] = sealed
        changes = {"ledger.db": newer.read_bytes(), "manifest.json": json.dumps(manifest)}

        def change(name, old):
            return changes.get(name, old)

        before = rows_of_the_ledger()

        with pytest.raises(SchemaError, match="9999"):
            restore(rewritten(archive, change), force=True)
        assert rows_of_the_ledger() == before

    def test_the_archive_holds_no_secret_and_nothing_half_written(self, installation, archive):
        Stack().environment  # noqa: B018 - makes the secrets
        (installation / "models" / "rides" / ".model.onnx.1234").write_text("half")

        back_up(archive, with_data=True)

        with zipfile.ZipFile(archive) as whole:
            names = whole.namelist()
        assert {"manifest.json", "ledger.db", "catalog.db", "mlflow.db"} == {name for name in names if "/" not in name}
        assert not [name for name in names if "/run/" in name or "onnx.1234" in name or "airflow" in name]
        assert [path.name for path in archive.parent.iterdir()] == [archive.name]

    def test_an_empty_installation_can_be_backed_up_and_restored(self, lose_everything, archive):
        back_up(archive)
        restore(archive)

        with open_ledger() as ledger:
            assert ledger.query(Request).count() == 0
        assert open_catalog().list_namespaces() == []
