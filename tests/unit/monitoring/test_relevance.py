import pytest

from include.monitoring.relevance import weights_of
from include.recipe import Features

FEATURES = Features(numeric=["distance", "speed"], categorical=["carrier"])


def test_a_column_counts_as_much_as_the_model_relies_on_it():
    weights = weights_of({"importance": {"distance": 0.03, "speed": 0.01, "carrier": 0.0}}, FEATURES)

    assert weights.by == "importance"
    assert weights.shares == pytest.approx({"distance": 0.75, "speed": 0.25, "carrier": 0})


def test_an_importance_below_nought_counts_as_none():
    weights = weights_of({"importance": {"distance": 0.03, "speed": -0.5}}, FEATURES)

    assert weights.shares == {"distance": 1, "speed": 0, "carrier": 0}


@pytest.mark.parametrize(
    ("manifest", "why"),
    [
        ({}, "its training measured no importance"),
        ({"importance": {"distance": 0.0, "speed": -0.1, "carrier": 0.0}}, "no column's importance is above nought"),
    ],
)
def test_without_importances_all_columns_count_alike_and_it_is_said(manifest, why):
    weights = weights_of(manifest, FEATURES)

    assert weights.by == "equal"
    assert list(weights.shares.values()) == pytest.approx([1 / 3] * 3)
    assert why in weights.why
