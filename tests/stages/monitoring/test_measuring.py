import gzip
import json
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from include import lake
from include.learning.multiclass import Multiclass
from include.learning.regression import Regression
from include.ledger import nights, open_ledger
from include.monitoring import deciding, governor, measuring, workspace
from include.monitoring.situation import Champion, Situation
from include.policy import Gate, Governor


def measured(version=1):
    with open_ledger() as session:
        return list(nights.windows_of(session, "rides", version))


def test_a_served_day_becomes_a_window_with_quality_drift_and_a_page(rides, champion, joined, settings):
    measuring.measure(rides, joined(shift=2.0))

    (window,) = measured()
    assert (window.day, window.rows, window.labelled) == ("2020-01-02", 400, 400)
    assert 0.7 < window.quality < 0.95
    assert window.drifted_share == 0.5
    assert window.measures["drift"]["columns"]["distance"]["state"] == "drifted"
    assert window.measures["quality"]["log_loss"] > 0
    assert window.report == "rides/reports/drift/2020-01-02-v1.html.gz"
    assert window.measures["quality"]["report"] == "rides/reports/quality/2020-01-02-v1.html.gz"
    drift, quality = (
        gzip.decompress((settings.lake / page).read_bytes()).decode()
        for page in (window.report, window.measures["quality"]["report"])
    )
    assert "ROC AUC" in quality
    for page, title in (
        (drift, "Drift: rides, 2020-01-02, version 1"),
        (quality, "Quality: rides, 2020-01-02, version 1"),
    ):
        assert f"<title>{title}</title>" in page
        assert f">{title}</h1>" in page
    json.dumps(window.measures, allow_nan=False)


@pytest.mark.parametrize(
    ("task", "changes", "columns", "metric", "drawn"),
    [
        (
            Multiclass(("on time", "late", "never")),
            {"gate": Gate(metric="log_loss"), "governor": Governor(metric="macro_f1")},
            lambda rng, size: np.eye(3)[rng.integers(0, 2, size)] * 0.7 + 0.1,
            "macro_f1",
            "Confusion Matrix",
        ),
        (
            Multiclass(("on time", "late", "never")),
            {"gate": Gate(metric="log_loss"), "governor": Governor(metric="accuracy")},
            lambda rng, size: np.eye(3)[rng.integers(0, 3, size)] * 0.7 + 0.1,
            "accuracy",
            "Confusion Matrix",
        ),
        (
            Regression(mean=100.0, spread=20.0),
            {"gate": Gate(metric="r2"), "governor": Governor(metric="rmse", max_quality_drop=5.0)},
            lambda rng, size: rng.normal(100, 20, size),
            "rmse",
            "Predicted vs Actual",
        ),
    ],
    ids=["two of three classes", "multiclass", "regression"],
)
def test_every_task_has_its_own_quality_and_page(  # noqa: PLR0913
    rides, make_model, champion, joined, settings, task, changes, columns, metric, drawn
):
    manifest = champion / "manifest.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"task": task.as_dict()}))
    rng = np.random.default_rng(3)
    predictions, others = columns(rng, 400), columns(rng, 500)
    uri = joined()
    rows = pq.read_table(uri).drop_columns(["prediction", "label"])
    answers = task.columns(predictions)
    truth = answers["prediction"].to_pylist()[:300] + answers["prediction"].to_pylist()[300:][::-1]
    with_answers = rows.append_column("label", pa.array(truth))
    for name, values in answers.items():
        with_answers = with_answers.append_column(name, values)
    pq.write_table(with_answers, uri)
    reference = pq.read_table(champion / "reference.parquet").drop_columns(["prediction"])
    for name, values in task.columns(others).items():
        reference = reference.append_column(name, values)
    pq.write_table(reference, champion / "reference.parquet")
    (settings.lake / "rides" / "reports" / "drift").mkdir(parents=True)
    sha256 = json.loads(manifest.read_text())["sha256"][:12]
    (settings.lake / "rides" / "reports" / "drift" / f"noise-{sha256}.json").write_text("{}")
    asked = rides.model_copy(update={"training": rides.training.model_copy(update={"task": task.name}), **changes})

    measuring.measure(asked, uri)

    (window,) = measured()
    known = window.measures["quality"]
    assert (window.labelled, known["state"]) == (400, "known"), known
    assert window.quality == known[metric] > 0
    assert set(known["labels"]) == set(known["predictions"])
    page = settings.lake / known["report"]
    assert drawn in gzip.decompress(page.read_bytes()).decode()
    assert window.measures["drift"]["columns"]["prediction"]["state"] in {"stable", "drifted"}
    json.dumps(window.measures, allow_nan=False)


def test_answers_of_a_version_with_another_task_are_not_judged(rides, champion, joined):
    manifest = champion / "manifest.json"
    about = json.loads(manifest.read_text()) | {"task": Regression().as_dict()}
    manifest.write_text(json.dumps(about))

    measuring.measure(rides, joined())

    (window,) = measured()
    assert window.quality is None
    assert "a regression model answered, but the YAML now says `training.task: binary`" in str(window.measures)


def test_a_day_measured_again_with_late_labels_replaces_the_old_word(rides, champion, joined):
    measuring.measure(rides, joined(labels=False))
    (before,) = measured()
    measuring.measure(rides, joined())
    (after,) = measured()

    assert (before.labelled, before.quality) == (0, None)
    assert after.quality is not None


def test_a_day_of_one_class_has_no_quality(rides, champion, joined, tmp_path):
    uri = joined()
    table = pq.read_table(uri)
    position = table.column_names.index("label")
    pq.write_table(table.set_column(position, "label", pa.array([0.0] * len(table))), uri)

    measuring.measure(rides, uri)

    (window,) = measured()
    assert (window.labelled, window.quality) == (400, None)
    assert "classes" in window.measures["quality"]["why"]


def test_a_version_the_ledger_does_not_know_has_no_drift_but_quality(rides, champion, joined):
    measuring.measure(rides, joined(version=9))

    (window,) = measured(9)
    assert (window.drifted_share, window.report) == (None, "")
    assert window.quality is not None


def test_a_lost_training_sample_makes_drift_unknown(rides, champion, joined):
    (champion / "reference.parquet").unlink()

    measuring.measure(rides, joined())

    (window,) = measured()
    assert window.drifted_share is None
    assert "reference.parquet" in window.measures["drift"]["why"]


def asked_for(policy):
    """Return the day whose publication made the governor ask for a new model, publication by publication."""
    served = [deciding.served_of(window) for window in measured()]
    champion = Champion(1, 0.7, "2019-12-02")
    for number, window in enumerate(served, 1):
        known = Situation(champion, tuple(served[:number]), (window.day,), (), 10_000, 100)
        if governor.decide(known, policy).action == "retrain":
            return window.day
    return None


@pytest.mark.parametrize(
    ("changed", "expected"),
    [("distance", "2020-01-14"), ("carrier", None)],
    ids=["one the model relies on", "one it ignores"],
)
def test_a_sudden_shift_is_confirmed_within_k_windows_if_the_model_relies_on_the_column(
    rides, champion, joined, relies_on, changed, expected
):
    relies_on(distance=0.08, carrier=0.0)
    calm, shifted = [f"2020-01-{day:02}" for day in range(10, 12)], [f"2020-01-{day:02}" for day in range(12, 20)]
    for day in calm:
        measuring.measure(rides, joined(day, labels=False))
    for day in shifted:
        changes = {"shift": 2.0} if changed == "distance" else {"carriers": ["DL", "WN"]}
        measuring.measure(rides, joined(day, labels=False, **changes))

    assert [window.drifted_share for window in measured()] == [0.0] * 2 + [1.0 if expected else 0.0] * 8
    assert {window.measures["drift"]["columns"][changed]["state"] for window in measured()[2:]} == {"drifted"}
    assert asked_for(rides.governor) == expected  # the third of three shifted days


def test_a_model_without_importances_counts_all_columns_alike_and_says_so(rides, champion, joined):
    measuring.measure(rides, joined(shift=2.0))

    (window,) = measured()
    assert (window.drifted_share, window.measures["drift"]["weighted_by"]) == (0.5, "equal")
    assert "measured no importance" in window.measures["drift"]["why"]


def test_the_noise_of_a_model_is_computed_once(rides, champion, joined, monkeypatch, settings):
    measuring.measure(rides, joined())

    def fail(*_arguments, **_more):
        raise AssertionError("read again")

    monkeypatch.setattr(lake, "read_clean", fail)
    measuring.measure(rides, joined())

    assert len(list((settings.lake / "rides" / "reports" / "drift").glob("noise-*.json"))) == 1


def snapshots(rides):
    from evidently.ui.workspace import Workspace

    kept = Workspace.create(str(workspace.workspace()))
    (project,) = kept.search_project("rides")
    found = [kept.get_run(project.id, run) for run in kept.list_runs(project.id)]
    return sorted(f"{run.name} {run.timestamp:%m-%d}" for run in found)


def test_evidentlys_own_ui_finds_each_window_once_and_only_the_newest(rides, champion, joined):
    monitoring = rides.monitoring.model_copy(update={"evidently_snapshots": 2})
    asked = rides.model_copy(update={"monitoring": monitoring})

    for day in ("2020-01-02", "2020-01-02", "2020-01-03"):
        measuring.measure(asked, joined(day))
    assert snapshots(rides) == ["2020-01-02 v1 01-02", "2020-01-03 v1 01-03"]

    measuring.measure(asked, joined("2020-01-04"))
    assert snapshots(rides) == ["2020-01-03 v1 01-03", "2020-01-04 v1 01-04"]


def test_the_workspace_can_be_switched_off(rides, champion, joined, settings):
    monitoring = rides.monitoring.model_copy(update={"evidently_snapshots": 0})

    measuring.measure(rides.model_copy(update={"monitoring": monitoring}), joined())

    assert not workspace.workspace().exists()


def test_history_is_not_measured(rides, tmp_path):
    pq.write_table(pa.table({"answer_day": pa.array([], pa.string())}), tmp_path / "windows.parquet")

    measuring.measure(rides, str(tmp_path / "windows.parquet"))

    assert measured() == []


def test_evidently_is_not_imported_before_something_is_measured():
    code = "import sys; import include.monitoring.measuring; sys.exit('evidently' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
