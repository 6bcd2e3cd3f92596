"""Batch scoring gives the endpoint's own answers, one set a day, whatever was killed before."""

import json
from contextlib import contextmanager
from datetime import date

import numpy as np
import onnx.parser
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from include import artefact, lake
from include.learning.binary import Binary
from include.learning.multiclass import Multiclass
from include.ledger import open_ledger, releases
from include.pipeline import ANSWER_DAY, ANSWER_VERSION
from include.scoring import job
from include.serving.answering import answer
from include.serving.model import Service, load
from include.serving.state import State

DAYS = ["2020-01-01", "2020-01-02", "2020-01-03"]
CLASSES = Multiclass(("early", "on time", "late"))
GRAPH = """<ir_version: 10, opset_import: ["": 18, "ai.onnx.ml": 3]>
tiny (float[N,1] distance, string[N,1] carrier) => (float[] prediction) {
  nought = Constant <value = float[1] {0.3}> ()
  flat = Constant <value = int64[1] {-1}> ()
  steps = Constant <value = float[1,3] {1.0, 0.5, -2.0}> ()
  missing = IsNaN (distance)
  known = Where (missing, nought, distance)
  bonus = ai.onnx.ml.LabelEncoder
      <keys_strings = ["AA", "Zoë", ""], values_floats = [1.0, -1.0, 0.25], default_float = 0.5> (carrier)
  score = Add (known, bonus)
  OUTPUT
}"""
OUTPUTS = {
    "binary": "chance = Sigmoid (score) prediction = Reshape (chance, flat)",
    "multiclass": "logits = Mul (score, steps) prediction = Softmax (logits)",
}


@pytest.fixture(autouse=True)
def _shared_spark(spark, monkeypatch):
    @contextmanager
    def shared():
        yield spark

    monkeypatch.setattr(job, "spark_session", shared)


@pytest.fixture
def publish(settings, rides):
    """Publish clean rows of days, numbers and texts missing among them, as the cleaning job stages them."""

    def write(days, rows=40, attempt="a"):
        folder, staged = settings.lake / "rides" / "staged" / attempt, {}
        for day in days:
            chance = np.random.default_rng(int(day.replace("-", "")))
            path = folder / "data" / f"_p={day}" / "part-0.parquet"
            path.parent.mkdir(parents=True)
            table = pa.table(
                {
                    "ride_id": [f"{day}-{number:03}" for number in range(rows)],
                    "day": pa.array([date.fromisoformat(day)] * rows, pa.date32()),
                    "distance": pa.array(chance.normal(0, 3, rows), mask=chance.random(rows) < 0.2),
                    "carrier": pa.array(chance.choice(["AA", "UA", "Zoë", ""], rows), mask=chance.random(rows) < 0.2),
                    "late": chance.random(rows) < 0.5,
                }
            )
            pq.write_table(table, path)
            staged[day] = {"rows": rows, "files": [str(path)]}
        (folder / "staged.json").write_text(json.dumps({"folder": str(folder), "days": staged}))
        lake.publish(rides, str(folder / "staged.json"), list(days))

    return write


@pytest.fixture
def champion(make_model, settings):
    """Make a model that looks at numbers and texts the champion, and return it as the endpoint has it."""

    def make(task):
        folder, _ = make_model("m1", task=task)
        content = onnx.parser.parse_model(GRAPH.replace("OUTPUT", OUTPUTS[task.name])).SerializeToString()
        (settings.models / "rides" / "m1" / artefact.MODEL).write_bytes(content)
        sha256 = artefact.sha256_of(content)
        with open_ledger() as session:
            release = releases.add_release(
                session, "rides", "request-1", model_uri=folder, sha256=sha256, tracking_run="",
                judged_until="", quality=0.5, metrics={}, gate={},
            )  # fmt: skip
            release.status = "champion"
        return Service(State("rides", 1, 1, folder, sha256), load(settings, "rides", 1, folder, sha256))

    return make


def sets(scored):
    """Return the answers that a reader of the whole folder finds, by day; a day in two files would be there twice."""
    found = {}
    for path in sorted(job.load_settings().lake.glob("rides/scores/version=*/day=*/*.parquet")):
        assert str(path).startswith(scored.folder)
        found.setdefault(path.parent.name.removeprefix("day="), []).extend(pq.ParquetFile(path).read().to_pylist())
    return found


@pytest.mark.parametrize("task", [Binary(), CLASSES], ids=lambda task: task.name)
def test_a_range_is_answered_as_the_endpoint_answers_it(rides, champion, publish, task):
    served = champion(task)
    publish(DAYS)

    scored = job.score(rides, DAYS[0], DAYS[1])

    found = sets(scored)
    assert scored.days == dict.fromkeys(DAYS[:2], 40)
    assert (list(found), scored.num_unanswered) == (DAYS[:2], 0)
    names = [field.name for field in task.fields]
    for day, rows in found.items():
        asked = lake.read_clean("rides", day, day, ["ride_id", "distance", "carrier"]).to_pylist()
        said = json.loads(answer(served, json.dumps({"instances": asked}).encode()).content)["predictions"]
        assert list(rows[0]) == ["ride_id", ANSWER_DAY, ANSWER_VERSION, *names]
        assert {(row[ANSWER_DAY], row[ANSWER_VERSION]) for row in rows} == {(day, 1)}
        assert [row["ride_id"] for row in rows] == [each["ride_id"] for each in said]
        assert len({row["prediction"] for row in rows}) > 1
        for row, each in zip(rows, said, strict=True):
            for name, value in flat(row, names).items():
                said_there = flat(each, names)[name]
                assert value == (said_there if isinstance(value, str) else pytest.approx(said_there, abs=1e-6, rel=0))


def flat(answered, names):
    """Return an answer's columns without a map in it."""
    values = {name: answered[name] for name in names}
    return values | {f"of {name}": chance for name, chance in dict(values.pop("probabilities", {})).items()}


def test_a_repeated_and_a_killed_run_leave_one_whole_set(rides, champion, publish, monkeypatch, settings):
    champion(Binary())
    publish(DAYS)
    once = sets(job.score(rides, DAYS[0], DAYS[2]))
    write = job.write_days

    def killed(*arguments):
        write(*arguments)
        raise KeyboardInterrupt

    publish(DAYS[1:2], rows=7, attempt="again")
    with monkeypatch.context() as patch:
        patch.setattr(job, "write_days", killed)
        with pytest.raises(KeyboardInterrupt):
            job.score(rides, DAYS[1], DAYS[2])
    folder = settings.lake / "rides" / "scores"
    assert [path.name for path in folder.iterdir()] == ["version=1"]
    scored = job.score(rides, DAYS[1], DAYS[2])

    found = sets(scored)
    assert {day: len(rows) for day, rows in found.items()} == dict(zip(DAYS, (40, 7, 40), strict=True))
    assert (found[DAYS[0]], found[DAYS[2]]) == (once[DAYS[0]], once[DAYS[2]])
