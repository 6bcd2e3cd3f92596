import json
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from include import lake
from include.errors import PublishError
from include.learning.binary import Binary
from include.learning.multiclass import Multiclass
from include.ledger import Publication, nights, open_ledger
from include.monitoring import windows
from include.recipe import Features
from include.serving.capture import capture_schema

FEATURES = Features(numeric=["distance"], categorical=["carrier"])
BINARY = Binary()
CLEAN = {"ride_id": ["a", "b", "c"], "late": [True, False, None]}


@pytest.fixture
def publish(settings):
    def enter(*days):
        with open_ledger() as session:
            nights.announce(
                session, Publication(id="rides.run-1", pipeline="rides", days=list(days), rows=3, snapshot_id="1")
            )
        return "rides.run-1"

    return enter


@pytest.fixture(autouse=True)
def clean(monkeypatch):
    asked = []

    def read_clean(pipeline_name, first, last, columns, snapshot_id=None):
        asked.append(first)
        return pa.table({"ride_id": CLEAN["ride_id"], "late": pa.array(CLEAN["late"], pa.bool_())}).select(columns)

    monkeypatch.setattr(lake, "read_clean", read_clean)
    return asked


@pytest.fixture
def predict(settings):
    def write(day, *rows, name="x", features=FEATURES, task=BINARY):
        folder = settings.lake / "rides" / "predictions" / f"day={day}"
        folder.mkdir(parents=True, exist_ok=True)
        whole = [
            {"answer_id": f"{name}{number}", "answer_day": day, "carrier": "AA", "distance": 1.0, **row}
            for number, row in enumerate(rows)
        ]
        pq.write_table(
            pa.Table.from_pylist(whole, schema=capture_schema("ride_id", features, task)), folder / f"{name}.parquet"
        )

    return write


def answer(key, prediction, version=1, minute=0):
    at = datetime(2020, 1, 2, 12, minute, tzinfo=UTC)
    return {"ride_id": key, "prediction": prediction, "answer_version": version, "answered_at": at}


def joined_rows(uri):
    return pq.ParquetFile(uri).read().to_pylist()


def test_predictions_meet_their_labels_and_keep_those_without(rides, publish, predict):
    predict("2020-01-02", *(answer(key, 0.5) for key in ("a", "b", "c", "gone")))

    rows = joined_rows(windows.collect(rides, publish("2020-01-02")))

    assert {row["ride_id"]: row["label"] for row in rows} == {"a": 1.0, "b": 0.0, "c": None, "gone": None}
    assert rows[0]["carrier"] == "AA"


def test_the_newest_answer_per_key_and_version_stays(rides, publish, predict):
    predict("2020-01-02", answer("a", 0.9, minute=5), answer("a", 0.1), answer("a", 0.2, version=2), name="x")
    predict("2020-01-02", answer("a", 0.3, minute=1), name="y")

    rows = joined_rows(windows.collect(rides, publish("2020-01-02")))

    assert {row["answer_version"]: row["prediction"] for row in rows} == {1: 0.9, 2: 0.2}


def test_days_without_predictions_are_history_and_not_even_read(rides, publish, predict, clean):
    predict("2020-01-02", answer("a", 0.5))

    uri = windows.collect(rides, publish("2020-01-01", "2020-01-02", "2020-01-03"))

    notes = json.loads(pq.read_schema(uri).metadata[b"evergreen"])
    assert (notes["served"], notes["history"]) == (["2020-01-02"], ["2020-01-01", "2020-01-03"])
    assert clean == ["2020-01-02"]


def test_a_large_day_is_a_sample_that_knows_how_many_there_were(rides, publish, predict, monkeypatch):
    monkeypatch.setattr(windows, "MOST_ROWS", 2)
    predict("2020-01-02", *(answer(key, 0.5) for key in ("a", "b", "c", "d", "a")), answer("a", 0.2, version=2))
    predict("2020-01-02", answer("e", 0.7), answer("f", 0.7), name="y")

    uri = windows.collect(rides, publish("2020-01-02"))

    joined = pq.ParquetFile(uri).read()
    first = joined.filter(pc.equal(joined["answer_version"], 1))
    assert len(first) == 2
    assert windows.counts_of(joined, first, "2020-01-02", 1) == (6, 2)
    assert windows.counts_of(joined, first, "2020-01-02", 2) == (1, 1)
    assert joined_rows(uri) == joined_rows(windows.collect(rides, "rides.run-1"))


def test_a_column_of_slices_that_is_no_feature_is_looked_up(rides, publish, predict, monkeypatch):
    clean = pa.table({"ride_id": ["b", "a"], "late": [True, False], "owner": ["you", "me"]})
    monkeypatch.setattr(lake, "read_clean", lambda name, first, last, columns: clean.select(columns))
    predict("2020-01-02", answer("a", 0.5), answer("b", 0.5), answer("c", 0.5))
    asked = rides.model_copy(update={"gate": rides.gate.model_copy(update={"slices": ["carrier", "owner"]})})

    rows = joined_rows(windows.collect(asked, publish("2020-01-02")))

    assert [(row["ride_id"], row["owner"], row["label"]) for row in rows] == [
        ("a", "me", 0.0),
        ("b", "you", 1.0),
        ("c", None, None),
    ]


def test_pure_history_gives_an_empty_file(rides, publish):
    assert joined_rows(windows.collect(rides, publish("2020-01-01"))) == []


def test_versions_with_other_features_go_into_one_file(rides, publish, predict):
    predict("2020-01-02", answer("a", 0.5), name="x")
    predict("2020-01-02", answer("a", 0.5, version=2), name="y", features=Features(numeric=["distance", "speed"]))

    rows = joined_rows(windows.collect(rides, publish("2020-01-02")))

    assert [(row["answer_version"], row["carrier"], row["speed"]) for row in rows] == [(1, "AA", None), (2, None, None)]


def test_answers_of_another_task_are_left_out(rides, publish, predict):
    chances = {"prediction": "late", "probabilities": {"late": 0.9, "punctual": 0.1}}
    predict("2020-01-02", {**answer("a", None), **chances}, name="x", task=Multiclass(("late", "punctual")))
    predict("2020-01-02", answer("b", 0.5, version=2), name="y")
    predict("2020-01-03", {**answer("a", None), **chances}, name="x", task=Multiclass(("late", "punctual")))

    rows = joined_rows(windows.collect(rides, publish("2020-01-02", "2020-01-03")))

    assert [(row["answer_version"], row["prediction"], row["label"]) for row in rows] == [(2, 0.5, 0.0)]


def test_labels_may_be_words(rides, publish, predict):
    task = Multiclass(("False", "True"))
    word = rides.model_copy(update={"training": rides.training.model_copy(update={"task": "multiclass"})})
    said = {"prediction": "true", "probabilities": {"false": 0.4, "true": 0.6}}
    predict("2020-01-02", *({**answer(key, None), **said} for key in ("a", "b", "c")), task=task)

    rows = joined_rows(windows.collect(word, publish("2020-01-02")))

    assert [row["label"] for row in rows] == ["true", "false", None]


def test_half_written_files_are_not_read(rides, publish, predict, settings):
    predict("2020-01-02", answer("a", 0.5))
    (settings.lake / "rides" / "predictions" / "day=2020-01-02" / ".y.parquet.tmp").write_text("half")

    assert len(joined_rows(windows.collect(rides, publish("2020-01-02")))) == 1


def test_an_unknown_publication_is_named(rides):
    with pytest.raises(PublishError, match="rides.nowhere"):
        windows.collect(rides, "rides.nowhere")
