import numpy as np
import pyarrow as pa
import pytest

from include.learning.binary import Binary
from include.learning.multiclass import Multiclass
from include.learning.regression import Regression
from include.monitoring.estimation import Holdout
from include.monitoring.outcomes import (
    calibration_drift,
    calibration_error,
    concept_drift,
    label_drift,
    slice_quality,
)
from include.monitoring.quality import Labelled
from include.policy import Gate, Governor

POLICY = Governor(metric="log_loss", max_quality_drop=0.1)
DAYS = np.repeat(["2020-01-01", "2020-01-02", "2020-01-03", "2020-01-04"], 500)


def window(rate=0.3, size=1000, task=None, **columns):
    rng = np.random.default_rng(1)
    labels = (rng.random(size) < rate).astype(float)
    predictions = np.clip(rng.normal(0.3, 0.1, size), 0.05, 0.95)
    rows = pa.table({"label": labels, "prediction": predictions, **columns})
    return Labelled(rows, task or Binary(), labels, predictions)


def holdout(rate=0.3):
    known = window(rate, 2000)
    return Holdout(Binary(), known.labels, known.predictions, DAYS)


@pytest.mark.parametrize(("rate", "state"), [(0.3, "stable"), (0.6, "drifted")])
def test_labels_drift_when_their_rate_leaves_what_single_training_days_had(rate, state):
    found = label_drift(window(rate), window(0.3).rows, {"label": 0.2}, 1.25)

    assert found["state"] == state
    assert found["threshold"] == 0.25
    assert found["now"]["rate"] == pytest.approx(rate, abs=0.05)
    assert found["in_training"]["rate"] == pytest.approx(0.3, abs=0.05)


@pytest.mark.parametrize(
    ("labels", "reference", "why"),
    [
        ([1.0, 0.0], {"prediction": [0.5]}, "no labels"),
        ([1.0, 0.0], {"label": ["late", "never"]}, "labels were string in training and are double now"),
    ],
)
def test_labels_that_cannot_be_compared_are_unknown(labels, reference, why):
    rows = pa.table({"label": labels})
    found = label_drift(Labelled(rows, Binary(), np.array(labels), np.array(labels)), pa.table(reference), {}, 1.25)

    assert found["state"] == "unknown"
    assert why in found["why"]


def test_classes_drift_too():
    task = Multiclass(("a", "b"))
    now = pa.table({"label": ["a", "b"] * 50})
    then = pa.table({"label": ["a"] * 95 + ["b"] * 5})

    assert label_drift(Labelled(now, task, np.zeros(100), np.zeros(100)), then, {}, 1.25)["state"] == "drifted"


@pytest.mark.parametrize(("rate", "state", "bias"), [(0.3, "stable", 0.0), (0.6, "drifted", -0.3)])
def test_calibration_is_lost_when_it_is_worse_than_on_the_worst_held_out_day(rate, state, bias):
    found = calibration_drift(window(rate), holdout(), 1.25)

    assert found["state"] == state
    assert found["bias"] == pytest.approx(bias, abs=0.05)


def test_perfect_answers_have_no_calibration_error():
    classes, values = np.array([0.0, 1.0, 2.0] * 20), np.linspace(0, 50, 60)

    assert calibration_error(Multiclass(("a", "b", "c")), classes, np.eye(3)[classes.astype(int)]) == (0, 0)
    assert calibration_error(Regression(20.0, 10.0), values, values) == (0, 0)
    assert calibration_error(Regression(20.0, 10.0), values, values + 5)[1] == pytest.approx(0.5)


def test_groups_with_enough_rows_are_judged_and_the_bad_one_is_named(rides):
    known = window(carrier=["AA"] * 400 + ["UA"] * 590 + [None] * 10)
    known.labels[:400] = 1.0  # nobody expected that
    asked = rides.model_copy(
        update={"governor": POLICY, "gate": Gate(slices=["carrier", "colour"], min_slice_rows=300)}
    )

    found = slice_quality(known, asked, 0.6)

    assert {name: group["rows"] for name, group in found["groups"].items()} == {"carrier=AA": 400, "carrier=UA": 590}
    assert found["state"] == "drifted"
    assert "carrier=AA" in found["why"]
    assert "carrier=UA" not in found["why"]


@pytest.mark.parametrize(
    ("gate", "why"),
    [(Gate(), "no column"), (Gate(slices=["carrier"], min_slice_rows=2000), "2000 labelled rows")],
)
def test_no_groups_are_unknown(rides, gate, why):
    asked = rides.model_copy(update={"governor": POLICY, "gate": gate})

    assert why in slice_quality(window(carrier=["AA"] * 1000), asked, 0.6)["why"]


@pytest.mark.parametrize(
    ("drop", "drift", "state", "why"),
    [
        (0.2, {"state": "stable"}, "yes", "0.2000 worse"),
        (0.05, {"state": "drifted"}, "no", "allowed: 0.1"),
        (-0.05, {"state": "stable"}, "no", "0.0500 better"),
        (0.2, {"state": "drifted"}, "unknown", "-0.1500 off"),
        (0.2, {"state": "unknown", "why": "no sample"}, "unknown", "no sample"),
        (None, {"state": "stable"}, "unknown", "not known"),
    ],
)
def test_the_world_has_changed_where_performance_is_lost_while_features_are_stable(drop, drift, state, why):
    found = concept_drift(drop, POLICY, drift, {"log_loss": -0.15})

    assert found["state"] == state
    assert why in found["why"]
