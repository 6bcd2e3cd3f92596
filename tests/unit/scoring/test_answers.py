from datetime import date

import pyarrow as pa
import pytest

from include.artefact import session_of
from include.learning.multiclass import Multiclass
from include.recipe import Features, Image
from include.scoring.answers import answers, answers_to, columns_of, rows_at_once
from include.scoring.scorer import Scorer


@pytest.fixture
def scorer(make_model):
    def make(task=None, features=None):
        from include.artefact import features_of, read_checked, read_manifest
        from include.learning.kinds import task_of

        folder, sha256 = make_model("m1", task=task)
        manifest = read_manifest(folder)
        features = features or features_of(manifest)
        return Scorer(7, "ride_id", "day", features, task_of(manifest), read_checked(folder, sha256))

    return make


def rows_of(*distances, kind=None):
    return pa.RecordBatch.from_pydict(
        {
            "ride_id": pa.array(range(len(distances)), pa.int64()),
            "day": [date(2020, 1, 2)] * len(distances),
            "distance": pa.array(distances, kind or pa.float64()),
            "carrier": pa.array([None] * len(distances), pa.string()),
        }
    )


def test_an_answer_has_key_day_version_and_the_tasks_columns(scorer):
    (found,) = answers([rows_of(0.0, None)], scorer())

    assert found.to_pylist() == [
        {"ride_id": key, "answer_day": "2020-01-02", "answer_version": 7, "prediction": 0.5, "_p": "2020-01-02"}
        for key in (0, 1)
    ]


@pytest.mark.parametrize("task", [None, Multiclass(("a", "b"))], ids=["binary", "multiclass"])
def test_a_row_beyond_what_the_model_can_compute_with_has_no_answer_and_the_others_keep_theirs(scorer, task):
    made = scorer(task)
    rows = rows_of(1.0, float("nan"), 2.0)
    made_of = answers_to(rows, made, session_of(made.content))
    broken = answers_to(rows_of(1.0, float("inf"), 2.0), made, Broken(session_of(made.content)))

    for name in [field.name for field in made.task.fields]:
        assert broken[name].null_count == 1
        assert made_of[name].null_count == 0
        assert [broken[name][row] for row in (0, 2)] == [made_of[name][row] for row in (0, 2)]


class Broken:
    """A model that answers the second row with NaN."""

    def __init__(self, session):
        self._session = session

    def run(self, *arguments):
        (found,) = self._session.run(*arguments)
        found[1] = float("nan")
        return [found]


def test_numbers_arrive_as_the_endpoint_makes_them_of_json():
    rows = rows_of(2**53 + 1, None, kind=pa.int64())

    found = columns_of(rows, Features(numeric=["distance"], categorical=["carrier"]))

    assert found["distance"][0] == float(2**53 + 1)
    assert found["distance"][1] != found["distance"][1]
    assert found["carrier"] == [None, None]


def test_a_batch_is_cut_where_pictures_would_unfold_into_more_than_memory_holds(scorer):
    picture = Image(height=512, width=512, channels=3)

    assert rows_at_once(Features(numeric=["distance"])) > 1_000_000
    assert rows_at_once(Features(image={"front": picture})) == 21
    assert rows_at_once(Features(image={"front": picture, "back": picture})) == 10


def test_pieces_come_in_their_order_and_none_is_lost(scorer, monkeypatch):
    monkeypatch.setattr("include.scoring.answers.UNFOLDED_VALUES", 2)

    found = list(answers([rows_of(1.0, 2.0, 3.0), rows_of(), rows_of(4.0)], scorer()))

    assert [batch["ride_id"].to_pylist() for batch in found] == [[0, 1], [2], [0]]
