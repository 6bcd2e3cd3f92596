import json
import os
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from include import housekeeping, registry, sweeping
from include.ledger import Decision, Partition, Publication, Window, nights, open_ledger, releases, requests
from include.policy import Retention

NOW = datetime.now(UTC)
POLICY = {
    "raw_days": 20,
    "quarantine_days": 20,
    "predictions_days": 20,
    "scores_days": 20,
    "reports_days": 20,
    "models_days": 20,
}
LEFT = {
    "raw/events/day=2020-01-01/aaa.csv",
    "quarantine/run=1/day=2020-01-01/part.parquet",
    "predictions/day=2020-01-01/a.parquet",
    "scores/version=1/day=2020-01-01/scores.parquet",
    "reports/validation/2020-01-01/run.html.gz",
    "reports/drift/2020-01-01-v1.html.gz",
    "runs/1/landed.json",
    "predictions/day=2020-01-01/.b.parquet.0123abcd",
}


@pytest.fixture(autouse=True)
def no_tracking_server(monkeypatch):
    forgotten = []
    monkeypatch.setattr(registry, "forget", lambda _pipeline, request_id: forgotten.append(request_id) or True)
    return forgotten


@pytest.fixture
def pipeline(rides):
    return rides.model_copy(update={"retention": Retention(**POLICY)})


@pytest.fixture
def leave(settings):
    def write(path, *, days):
        file = settings.lake / "rides" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        if file.suffix == ".parquet":
            pq.write_table(pa.table({"id": [path], "ride_id": ["a"]}), file)
        else:
            file.write_text("x")
        age(file, days)
        return file

    return write


@pytest.fixture
def model(make_model, settings):
    def make(number, status, *, serving_days_ago=None, days=100):
        with open_ledger() as session:
            request = requests.file_request(
                session, "rides", reason="r", triggered_by="hand", key=str(number), detail={}
            )
            folder, sha256 = make_model(f"rides.hand.{number}", number)
            release = releases.add_release(
                session, "rides", request.id, model_uri=folder, sha256=sha256, tracking_run="",
                judged_until="2020-01-01", quality=0.5, metrics={}, gate={},
            )  # fmt: skip
            release.status = status
            requests.close_request(session, request.id, status="done", note="")
            if serving_days_ago is not None:
                release.serving_at = NOW - timedelta(days=serving_days_ago)
        for path in (settings.models / "rides" / f"rides.hand.{number}").iterdir():
            age(path, days)

    return make


def age(path, days):
    written = (NOW - timedelta(days=days)).timestamp()
    os.utime(path, (written, written))


def left(settings):
    files = (settings.lake / "rides").rglob("*")
    own = {"housekeeping.json", "rewriting.lock"}
    return {str(path.relative_to(settings.lake / "rides")) for path in files if path.is_file() and path.name not in own}


def test_what_is_old_goes_and_what_is_young_stays(pipeline, leave, settings):
    for path in LEFT:
        leave(path, days=40)
        leave(path.replace("2020-01-01", "2020-02-02").replace("=1/", "=2/").replace("runs/1", "runs/2"), days=0.5)

    removed = housekeeping.keep_house(pipeline, NOW)

    assert {kind for kind in removed if isinstance(removed[kind], dict)} == {
        "raw", "quarantine", "predictions", "scores", "reports", "runs", "temporary"
    }  # fmt: skip
    assert removed["reports"] == {"count": 2, "bytes": 2}
    assert len(left(settings)) == len(LEFT)
    assert not any("2020-01-01" in path for path in left(settings))


def test_a_second_time_the_same_day_costs_nothing_and_the_next_day_goes_on(pipeline, leave, settings):
    housekeeping.keep_house(pipeline, NOW)
    leave("runs/1/landed.json", days=40)

    assert housekeeping.keep_house(pipeline, NOW) == {}
    assert left(settings) == {"runs/1/landed.json"}
    assert housekeeping.keep_house(pipeline, NOW + timedelta(days=1))["runs"]["count"] == 1


def test_killed_half_way_it_goes_on_at_the_next_sweep(pipeline, leave, settings, monkeypatch):
    for number in range(3):
        leave(f"quarantine/run={number}/day=2020-01-01/part.parquet", days=40)
    remove = housekeeping.remove

    def killed(item):
        remove(item)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(housekeeping, "remove", killed)
        with pytest.raises(KeyboardInterrupt):
            housekeeping.keep_house(pipeline, NOW)

    assert len(left(settings)) == 2
    housekeeping.keep_house(pipeline, NOW)
    assert left(settings) == set()


def test_the_windows_of_an_open_publication_stay(pipeline, leave, settings):
    with open_ledger() as session:
        nights.announce(session, Publication(id="rides.1", pipeline="rides", days=[], rows=0, snapshot_id=""))
    leave("runs/rides.1/windows.parquet", days=40)
    leave("runs/1/landed.json", days=40)

    housekeeping.keep_house(pipeline, NOW)

    assert left(settings) == {"runs/rides.1/windows.parquet"}


def test_a_landed_copy_goes_before_its_delivery_and_a_delivered_parquet_is_no_copy(pipeline, leave, settings):
    for name in ("aaa.csv", "aaa.rows.parquet", "aaa.rows.repaired-0.parquet", "bbb.parquet", "bbb.rows.parquet"):
        leave(f"raw/events/day=2020-01-01/{name}", days=40)
    for_ever = pipeline.model_copy(update={"retention": Retention()})

    housekeeping.keep_house(for_ever, NOW)

    assert {path.rsplit("/")[-1] for path in left(settings)} == {"aaa.csv", "bbb.parquet"}


def test_models_nobody_goes_back_to_leave_ledger_mlflow_and_disk(pipeline, model, settings, no_tracking_server):
    model(1, "retired", serving_days_ago=90)
    for number in (2, 3, 4):
        model(number, "retired", serving_days_ago=90 - number)
    model(5, "rejected")
    model(6, "champion", serving_days_ago=50)
    model(7, "rejected", days=1)

    housekeeping.keep_house(pipeline, NOW)

    folders = sorted(path.name for path in (settings.models / "rides").iterdir())
    assert folders == [f"rides.hand.{number}" for number in (2, 3, 4, 6, 7)]
    assert sorted(no_tracking_server) == ["rides.hand.1", "rides.hand.5"]
    with open_ledger() as session:
        states = {release.version: release.status for release in releases.releases_of(session, "rides")}
    assert (states[1], states[2], states[5]) == ("removed", "retired", "rejected")


def test_a_model_stays_whole_until_mlflow_answers(pipeline, model, settings, monkeypatch):
    for number in range(4):
        model(number, "retired", serving_days_ago=90 - number)
    folder = settings.models / "rides" / "rides.hand.0"
    with monkeypatch.context() as patch:
        patch.setattr(registry, "forget", lambda *_: False)
        housekeeping.keep_house(pipeline, NOW)

    assert (folder / "model.onnx").exists()
    housekeeping.keep_house(pipeline, NOW + timedelta(days=1))
    assert not folder.exists()


def test_old_measurements_and_decisions_leave_the_ledger_and_publications_stay(pipeline):
    old = NOW - timedelta(days=500)
    with open_ledger() as session:
        for day, at in (("2020-01-01", old), ("2020-01-02", NOW)):
            session.add(Window(pipeline="rides", day=day, version=1, rows=1, labelled=0, measures={}, report="", at=at))
            session.add(
                Decision(publication_id=day, pipeline="rides", action="nothing", reason="r", evidence={}, at=at)
            )
            session.add(Publication(id=day, pipeline="rides", days=[], rows=0, snapshot_id="", status="done", at=at))

    assert housekeeping.keep_house(pipeline, NOW)["ledger_rows"] == 2

    with open_ledger() as session:
        assert [window.day for window in nights.windows_of(session, "rides")] == ["2020-01-02"]
        assert session.get(Publication, "2020-01-01") is not None


def test_days_beyond_the_clean_tables_horizon_expire_from_the_newest_day_on(pipeline):
    policy = pipeline.model_copy(update={"retention": Retention(clean_days=2)})
    with open_ledger() as session:
        for day in ("2020-01-01", "2020-01-02", "2020-01-03"):
            nights.record_partition(
                session, "rides", day, status="published", rows=1, quarantined=0, run_key="r", report="", note=""
            )

    housekeeping.keep_house(policy, NOW)

    with open_ledger() as session:
        assert nights.published_days(session, "rides") == ["2020-01-02", "2020-01-03"]
        assert session.get(Partition, ("rides", "2020-01-01")).status == "expired"


def test_airflows_old_logs_go_and_the_empty_folders_with_them(settings):
    old, young = (settings.airflow_logs / f"dag_id=d/run_id={name}/attempt=1.log" for name in ("old", "young"))
    for path, days in ((old, 40), (young, 1)):
        path.parent.mkdir(parents=True)
        path.write_text("text")
        age(path, days)
        age(path.parent, days)

    assert sweeping.expire([], 30, NOW) == {"airflow": {"files": 1, "bytes": 4}}
    assert sweeping.expire([], 30, NOW) == {}
    sweeping.expire([], 30, NOW + timedelta(days=2))
    assert [path.name for path in (settings.airflow_logs / "dag_id=d").iterdir()] == ["run_id=young"]


def test_a_broken_marker_means_not_done(pipeline, settings):
    (settings.lake / "rides").mkdir(parents=True)
    (settings.lake / "rides" / "housekeeping.json").write_text("{")

    assert housekeeping.keep_house(pipeline, NOW)["snapshots"] == 0
    assert json.loads((settings.lake / "rides" / "housekeeping.json").read_text())["at"] == NOW.isoformat()
