import numpy as np
import pyarrow as pa
import pytest

from include.monitoring.inputs import measure_inputs
from include.recipe import Features

FEATURES = Features(numeric=["distance"], categorical=["carrier"])
MANIFEST = {"ranges": {"distance": [0.0, 10.0]}, "categories": {"carrier": ["", "AA", "UA"]}}
REFERENCE = pa.table({"distance": [1.0, 2.0, None, 4.0] * 25, "carrier": ["AA", "UA", "AA", ""] * 25})


def found(column, distance=(1.0, 2.0, None, 4.0), carrier=("AA", "UA", "AA", None)):
    table = pa.table({"distance": pa.array(distance, pa.float64()), "carrier": pa.array(carrier, pa.string())})
    measured = measure_inputs(table, REFERENCE, FEATURES, MANIFEST)
    return measured["state"], measured["columns"][column]


def test_a_day_like_training_is_stable_also_with_the_same_gaps():
    assert found("distance") == (
        "stable",
        {"state": "stable", "why": "", "missing": 0.25, "out_of_range": 0.0, "missing_in_training": 0.25},
    )
    assert found("carrier")[1]["missing"] == 0.25


@pytest.mark.parametrize(
    ("column", "changes", "kind", "share", "why"),
    [
        ("distance", {"distance": [1.0, None, float("nan"), None]}, "missing", 0.75, "75% missing"),
        ("distance", {"distance": [1.0, 2.0, 11.0, -1.0]}, "out_of_range", 0.5, "50% out_of_range"),
        ("carrier", {"carrier": ["AA", "DL", "WN", None]}, "unseen", 2 / 3, "67% unseen"),
        ("carrier", {"carrier": [None, "", "", None]}, "missing", 1.0, "100% missing"),
    ],
)
def test_what_has_risen_is_named(column, changes, kind, share, why):
    state, measured = found(column, **changes)

    assert (state, measured["state"]) == ("drifted", "drifted")
    assert measured[kind] == pytest.approx(share, abs=1e-6)
    assert why in measured["why"]


def test_a_column_that_has_vanished_is_named():
    measured = measure_inputs(REFERENCE.select(["carrier"]), REFERENCE, FEATURES, MANIFEST)

    assert measured["why"] == "distance: not a column of this day"


def test_no_rows_say_nothing():
    assert measure_inputs(REFERENCE.slice(0, 0), REFERENCE, FEATURES, MANIFEST)["state"] == "unknown"


def test_a_column_empty_in_training_may_stay_empty():
    empty = pa.table({"distance": pa.nulls(4, pa.float64()), "carrier": ["AA"] * 4})

    measured = measure_inputs(empty, empty, FEATURES, {"ranges": {}, "categories": {"carrier": ["AA"]}})

    assert measured["state"] == "stable"
    assert np.isclose(measured["columns"]["distance"]["missing"], 1)
