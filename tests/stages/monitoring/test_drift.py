import gzip
import json

import numpy as np
import pyarrow as pa
import pytest
from evidently import Report

from include import reports
from include.monitoring import drift
from include.monitoring.drift import Column, measure_drift, plain_share, weighted_share
from include.monitoring.noise import category_distance, furthest_days
from include.policy import Monitoring
from include.recipe import Features, Image, Text

FEATURES = Features(numeric=["distance", "speed"], categorical=["carrier"])
POLICY = Monitoring(sample_rows=400)
NOISE = {"distance": 0.1, "speed": 0.1, "carrier": 0.1, "prediction": 0.1}
WEIGHTS = {"distance": 0.7, "speed": 0.3, "carrier": 0.0}


def table(num_rows=500, seed=0, **changes):
    rng = np.random.default_rng(seed)
    columns = {
        "distance": rng.normal(0, 1, num_rows),
        "speed": rng.normal(0, 1, num_rows),
        "carrier": rng.choice(["AA", "UA", "B6"], num_rows),
        "prediction": rng.random(num_rows),
    }
    return pa.table({**columns, **changes})


@pytest.fixture
def measure(tmp_path):
    def show(drawn, summary):
        html = drawn.get_html_str(as_iframe=False)
        reports.write_evidently_page(tmp_path / "drift" / "page.html.gz", "Drift: rides", html, summary)

    def run(current, reference=None, **changes):
        reference = table(seed=1) if reference is None else reference
        arguments = {"noise": NOISE, "weights": WEIGHTS, "policy": POLICY, "show": show, **changes}
        return measure_drift(current, reference, FEATURES, **arguments)

    return run


def test_a_moved_column_has_drifted_and_the_others_not(measure, tmp_path):
    columns = measure(table(distance=np.random.default_rng(3).normal(2, 1, 500)))

    assert columns["distance"].state == "drifted"
    assert columns["distance"].effect == pytest.approx(2, abs=0.5)
    assert {columns[name].state for name in ("speed", "carrier", "prediction")} == {"stable"}
    assert weighted_share(columns) == 0.7
    assert plain_share(columns, FEATURES) == pytest.approx(1 / 3)
    assert 1_000 < (tmp_path / "drift" / "page.html.gz").stat().st_size < 150_000
    assert [path.suffixes[-2:] for path in sorted((tmp_path / "library").iterdir())] == [
        [".js", ".gz"],
        [".woff2", ".gz"],
    ]


@pytest.mark.parametrize(
    ("values", "why"),
    [
        (pa.nulls(500, pa.float64()), "no value in this day"),
        (np.full(500, np.nan), "no value in this day"),
        (np.full(500, 3.0), "always 3.0 in this day"),
    ],
)
def test_a_column_that_cannot_be_compared_is_unknown_with_the_reason(measure, values, why):
    columns = measure(table(distance=values))

    assert columns["distance"] == Column("unknown", why=why, weight=0.7)
    assert plain_share(columns, FEATURES) == 0.0


def test_a_category_without_values_is_unknown_not_stable(measure):
    columns = measure(table(carrier=pa.nulls(500, pa.string())))

    assert columns["carrier"] == Column("unknown", why="no value in this day")


def test_an_empty_day_is_unknown_and_writes_no_page(measure, tmp_path):
    columns = measure(table().slice(0, 0))

    assert {column.state for column in columns.values()} == {"unknown"}
    assert plain_share(columns, FEATURES) is None
    assert not (tmp_path / "drift" / "page.html.gz").exists()


def test_a_column_the_version_did_not_have_is_unknown(measure):
    columns = measure(table().drop_columns(["speed"]))

    assert columns["speed"].why == "not a column of this day"


def test_drift_of_a_column_the_model_ignores_does_not_count(measure):
    columns = measure(table(carrier=["AA"] * 499 + ["UA"]))

    assert columns["carrier"].state == "drifted"
    assert (weighted_share(columns), plain_share(columns, FEATURES)) == (0.0, pytest.approx(1 / 3))


def test_where_nothing_the_model_relies_on_can_be_compared_the_share_is_unknown(measure):
    columns = measure(table(distance=np.full(500, 3.0), speed=np.full(500, np.nan)))

    assert columns["carrier"].state == "stable"
    assert weighted_share(columns) is None


def test_missing_values_within_a_column_do_not_hide_it(measure):
    moved = np.random.default_rng(3).normal(2, 1, 500)
    moved[::3] = np.nan

    assert measure(table(distance=moved))["distance"].state == "drifted"


def test_what_single_training_days_did_is_not_drift(measure):
    moved = table(distance=np.random.default_rng(3).normal(2, 1, 500))

    assert measure(moved, noise={**NOISE, "distance": 2.5})["distance"].state == "stable"


def test_the_same_rows_give_the_same_numbers(measure):
    moved = table(num_rows=900)

    assert measure(moved) == measure(moved)


def test_only_the_prediction_and_the_columns_that_moved_most_are_drawn(measure, tmp_path, monkeypatch):
    monkeypatch.setattr(drift, "FEWEST_DRAWN", 1)

    columns = measure(table(speed=np.random.default_rng(3).normal(2, 1, 500)))

    page = gzip.decompress((tmp_path / "drift" / "page.html.gz").read_bytes()).decode()
    assert "Drift in column 'speed'" in page
    assert "Drift in column 'prediction'" in page
    assert "Drift in column 'distance'" not in page
    assert columns["distance"].state == "stable"


def test_our_distances_are_evidentlys(measure, monkeypatch):
    drawn = {}

    def keep(*arguments, **options):
        drawn["report"] = run(*arguments, **options)
        return drawn["report"]

    run = Report.run
    monkeypatch.setattr(Report, "run", keep)
    current = table(distance=np.random.default_rng(3).normal(1, 2, 500))

    columns = measure(current, policy=Monitoring(sample_rows=500))

    theirs = {found["config"]["column"]: float(found["value"]) for found in drawn["report"].dict()["metrics"]}
    assert set(theirs) == {"distance", "speed", "carrier", "prediction"}
    assert {name: columns[name].effect for name in theirs} == pytest.approx(theirs, abs=1e-5)


def test_the_furthest_day_of_the_training_window_is_its_noise():
    days = np.repeat(["2020-01-01", "2020-01-02"], 250)
    moved = np.random.default_rng(0).normal(0, 1, 500) + np.where(days == "2020-01-02", 2.0, 0.0)
    window = table(distance=moved).append_column("day", pa.array(days))

    noise = furthest_days(window, table(seed=1), "day", FEATURES)

    assert noise["distance"] == pytest.approx(2, abs=0.2)
    assert 0 < noise["speed"] < 0.2
    assert set(noise) == {"distance", "speed", "carrier", "prediction"}


def test_a_category_that_is_constant_each_day_has_no_noise():
    assert category_distance(pa.chunked_array([["Mon", "Mon"]]), pa.chunked_array([["Mon", "Tue"]])) is None


def test_texts_that_get_longer_and_pictures_that_get_brighter_have_drifted():
    features = Features(text={"note": Text()}, image={"photo": Image(height=4, width=4)})
    noise = {"note": 0.1, "photo": 0.1, "prediction": 0.1}

    def posts(num_words, brightness, seed=0):
        rng = np.random.default_rng(seed)
        words = ["word " * max(1, number) for number in rng.poisson(num_words, 300)]
        photos = [json.dumps(values.tolist()) for values in rng.integers(0, brightness, (300, 16))]
        return pa.table({"note": [None, *words[1:]], "photo": [None, *photos[1:]], "prediction": rng.random(300)})

    def measured(*about):
        arguments = {"noise": noise, "weights": {}, "policy": POLICY, "show": lambda *_: None}
        found = measure_drift(posts(*about), posts(8, 50, seed=1), features, **arguments)
        return {name: column.state for name, column in found.items()}

    assert measured(8, 50) == {"note": "stable", "photo": "stable", "prediction": "stable"}
    assert measured(16, 50) == {"note": "drifted", "photo": "stable", "prediction": "stable"}
    assert measured(8, 90) == {"note": "stable", "photo": "drifted", "prediction": "stable"}
