"""Days that are odd in one way or another: each is measured right, or "unknown" with the reason, and never a crash."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from include.artefact import HOLDOUT, REFERENCE
from include.learning.binary import Binary
from include.ledger import Publication, nights, open_ledger, releases
from include.monitoring import measuring, windows
from include.policy import Gate
from include.recipe import Features
from include.serving.capture import capture_schema

RNG = np.random.default_rng(3)
FEATURES = Features(numeric=["distance"], categorical=["carrier"])
STATES = ("drift", "prediction", "inputs", "labels", "calibration", "slices", "concept")


@pytest.fixture(autouse=True)
def whole(champion, settings):
    """Give the champion all that a training leaves: labels in both samples, importances, ranges, categories."""
    for name in (HOLDOUT, REFERENCE):
        table = pq.read_table(champion / name)
        odds = table["prediction"].to_numpy()
        table = table.append_column(
            "label", pa.array((np.random.default_rng(2).random(len(odds)) < odds).astype(float))
        )
        table = table.append_column("day", pa.array(np.repeat(["2019-12-03", "2019-12-04"], len(odds) // 2)))
        pq.write_table(table, champion / name)
    noise = settings.lake / "rides" / "reports" / "drift"
    noise.mkdir(parents=True)
    manifest = json.loads((champion / "manifest.json").read_text())
    learned = {
        "importance": {"distance": 0.08, "carrier": 0.0},
        "ranges": {"distance": [-4.0, 4.0]},
        "categories": {"carrier": ["AA", "B6", "UA"]},
        "target": "late",
    }
    (champion / "manifest.json").write_text(json.dumps(manifest | learned))
    known = {"distance": 0.2, "carrier": 0.1, "prediction": 0.2, "label": 0.2}
    (noise / f"noise-{manifest['sha256'][:12]}.json").write_text(json.dumps(known))


@pytest.fixture
def measure(rides, joined):
    """Measure a day after changing it, and return its window."""

    def run(change=lambda table: table, day="2020-01-02", pipeline=rides, **options):
        uri = joined(day, **options)
        pq.write_table(change(pq.read_table(uri)), uri)
        measuring.measure(pipeline, uri)
        with open_ledger() as session:
            window = next(each for each in nights.windows_of(session, "rides") if each.day == day)
        json.dumps(window.measures, allow_nan=False)
        return window

    return run


def put(name, values):
    return lambda table: table.set_column(table.column_names.index(name), name, pa.array(values))


def states(window):
    return {name: window.measures[name]["state"] for name in STATES}


def test_an_ordinary_day_is_stable_in_every_respect(measure, rides):
    asked = rides.model_copy(update={"gate": Gate(slices=["carrier"], min_slice_rows=100)})

    window = measure(pipeline=asked)

    assert states(window) == dict.fromkeys(STATES, "stable") | {"concept": "no", "prediction": "drifted"}
    assert window.measures["estimate"]["state"] == "known"
    error = window.measures["estimate_error"]["log_loss"]
    assert error == pytest.approx(
        window.measures["estimate"]["log_loss"] - window.measures["quality"]["log_loss"], abs=1e-5
    )


@pytest.mark.parametrize(
    ("values", "why"),
    [(np.full(400, 1.5), "always 1.5"), (pa.nulls(400, pa.float64()), "no value"), (np.full(400, np.nan), "no value")],
    ids=["constant", "all null", "not a number"],
)
def test_a_column_that_says_nothing_is_unknown_and_the_others_are_measured(measure, values, why):
    window = measure(put("distance", values))

    columns = window.measures["drift"]["columns"]
    assert (columns["distance"]["state"], columns["carrier"]["state"]) == ("unknown", "stable")
    assert why in columns["distance"]["why"]
    assert (window.drifted_share, window.measures["drift"]["state"]) == (None, "unknown")  # it relies on nothing else
    assert window.quality is not None


def test_a_day_of_nothing_but_nulls_is_measured(measure):
    def empty(table):
        for name in ("distance", "carrier"):
            table = put(name, pa.nulls(len(table), table.schema.field(name).type))(table)
        return table

    window = measure(empty)

    assert window.measures["inputs"]["state"] == "drifted"
    assert "100% missing" in window.measures["inputs"]["why"]


def test_a_vanished_column_is_unknown_as_drift_and_named_among_the_inputs(measure):
    window = measure(lambda table: table.drop_columns(["distance"]))

    assert window.measures["drift"]["columns"]["distance"]["why"] == "not a column of this day"
    assert window.measures["inputs"]["why"] == "distance: not a column of this day"


def test_a_new_column_changes_nothing(measure):
    before = measure(day="2020-01-02").measures["drift"]
    after = measure(lambda table: table.append_column("colour", pa.array(["red"] * 400)), day="2020-01-03").measures

    assert after["drift"] == before


def test_a_column_of_another_type_is_not_a_crash(measure):
    window = measure(put("distance", ["far"] * 200 + ["near"] * 200))

    assert window.measures["drift"]["columns"]["distance"]["state"] == "unknown"


def test_a_month_without_labels_has_drift_and_an_estimate_but_no_outcomes(measure):
    found = [measure(day=f"2020-03-{day:02}", labels=False) for day in (1, 10, 20, 31)]

    for window in found:
        assert (window.labelled, window.quality, window.drifted_share) == (0, None, 0.0)
        assert 0 < window.measures["estimate"]["log_loss"] < 1
        assert {window.measures[name]["state"] for name in ("labels", "calibration", "slices", "concept")} == {
            "unknown"
        }
        assert window.measures["concept"]["why"] == "no row has a label yet"


def test_few_labels_give_a_quality_but_no_states(measure):
    window = measure(lambda table: put("label", table["label"].to_pylist()[:20] + [None] * 380)(table))

    assert window.labelled == 20
    assert window.quality is not None
    assert window.measures["calibration"]["why"] == "20 labelled rows, at least 50 are needed"


def test_partial_labels_are_compared_with_the_estimate_for_the_same_rows(measure):
    def half(table):
        sure = np.argsort(table["prediction"].to_numpy())[:200]  # the unlikely ones: easier than all
        labels = [value if row in set(sure) else None for row, value in enumerate(table["label"].to_pylist())]
        return put("label", labels)(table)

    window = measure(half)

    truth, everyone = window.measures["quality"]["accuracy"], window.measures["estimate"]["accuracy"]
    assert window.labelled == 200
    assert window.measures["estimate_error"]["accuracy"] != pytest.approx(everyone - truth, abs=1e-3)
    assert abs(window.measures["estimate_error"]["accuracy"]) < 0.15


def test_a_day_of_few_rows_has_no_drift_state(measure):
    window = measure(num_rows=30)

    assert window.measures["drift"]["state"] == "unknown"
    assert "30 rows, at least 50" in window.measures["drift"]["why"]


def test_two_champions_of_one_day_are_two_windows_each_held_against_its_own_training(
    rides, make_model, joined, champion
):
    folder, sha256 = make_model("m2", slope=3.0, train_days=["2019-12-01", "2019-12-02"], target="late")
    with open_ledger() as session:
        fields = {
            "model_uri": folder,
            "sha256": sha256,
            "tracking_run": "",
            "judged_until": "2019-12-02",
            "quality": 0.7,
        }
        releases.add_release(session, "rides", "r2", **fields, metrics={}, gate={}, compared_with=1)
    uri = joined()
    table = pq.read_table(uri)
    second = put("answer_version", [2] * 400)(table)
    second = put("distance", second["distance"].to_numpy() + 3)(second)
    pq.write_table(pa.concat_tables([table, second]), uri)

    measuring.measure(rides, uri)

    with open_ledger() as session:
        first, other = nights.windows_of(session, "rides")
    assert [(each.version, each.rows, each.drifted_share) for each in (first, other)] == [(1, 400, 0.0), (2, 400, 0.5)]
    assert [each.measures["drift"]["weighted_by"] for each in (first, other)] == ["importance", "equal"]
    assert other.measures["calibration"]["why"] == "the version's hold-out, with labels and answers, is not there"


def test_a_model_that_learned_its_holdout_in_the_end_is_estimated_by_what_its_recipe_answered_before(measure, champion):
    before = measure(day="2020-01-02").measures["estimate"]["log_loss"]
    holdout = pq.read_table(champion / HOLDOUT)
    answers = holdout["prediction"].to_numpy()
    learned = pa.array(np.clip(holdout["label"].to_numpy(), 0.01, 0.99))  # answers of one who knows the outcome
    with_both = put("prediction", learned)(holdout).append_column("judged_prediction", pa.array(answers))
    pq.write_table(with_both, champion / HOLDOUT)

    assert measure(day="2020-01-03").measures["estimate"]["log_loss"] == pytest.approx(before, abs=1e-6)


def test_a_training_window_that_is_gone_from_the_table_leaves_drift_unknown(measure, settings, monkeypatch):
    for path in (settings.lake / "rides" / "reports" / "drift").glob("noise-*.json"):
        path.unlink()

    def gone(*_arguments, **_options):
        raise ValueError("Snapshot not found: 1")

    monkeypatch.setattr("include.lake.read_clean", gone)

    window = measure()

    assert window.measures["drift"]["state"] == "unknown"
    assert "Snapshot not found: 1" in window.measures["drift"]["why"]
    assert window.quality is not None


def test_a_broken_holdout_leaves_the_rest(measure, champion):
    (champion / HOLDOUT).write_bytes(b"PAR1")

    window = measure()

    assert window.measures["estimate"]["state"] == "unknown"
    assert window.measures["drift"]["state"] == "stable"


def test_doubled_labels_count_once(rides, settings, monkeypatch):
    clean = pa.table({"ride_id": ["a", "a", "b", None], "late": [True, True, False, True]})
    monkeypatch.setattr("include.lake.read_clean", lambda *arguments, **options: clean.select(arguments[3]))
    with open_ledger() as session:
        about = {"pipeline": "rides", "days": ["2020-01-02"], "rows": 3, "snapshot_id": "1"}
        nights.announce(session, Publication(id="rides.run-1", **about))
    folder = settings.lake / "rides" / "predictions" / "day=2020-01-02"
    folder.mkdir(parents=True)
    rows = [{"ride_id": key, "answer_version": 1, "answer_id": key, "answer_day": "2020-01-02"} for key in ("a", "b")]
    pq.write_table(
        pa.Table.from_pylist(rows, schema=capture_schema("ride_id", FEATURES, Binary())), folder / "x.parquet"
    )

    joined = pq.ParquetFile(windows.collect(rides, "rides.run-1")).read()

    assert dict(zip(joined["ride_id"].to_pylist(), joined["label"].to_pylist(), strict=True)) == {"a": 1.0, "b": 0.0}
