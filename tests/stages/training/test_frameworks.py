"""Both frameworks, every network and every task: from raw columns to one graph that says the same."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from include import artefact
from include.errors import ConfigError
from include.evaluation import quality
from include.learning.kinds import KINDS, labels_of
from include.learning.metrics import GOVERNOR_DEFAULT, TaskName
from include.learning.task import Task
from include.recipe import Features, Framework, Training
from include.training import export, frameworks
from include.training.in_memory import Learned, learn
from include.training.stream import InMemory, Stream

FEATURES = Features(numeric=["distance", "wind"], categorical=["carrier"])
SIZE = 2000
MODULES: dict[Framework, str] = {"torch": "include.training.models", "keras": "include.training.keras_models"}


def columns() -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    numbers = {name: random.normal(1000, 5, SIZE).astype(np.float32) for name in FEATURES.numeric}
    return {**numbers, "carrier": random.choice(["AA", "B6", ""], SIZE).astype(object)}


def labels(name: TaskName) -> pa.Table:
    found = columns()
    score = (
        (found["distance"] - 1000) / 5 + 2 * (found["carrier"] == "AA") + np.random.default_rng(1).normal(0, 1, SIZE)
    )
    values: dict[TaskName, Any] = {
        "binary": score > 1,
        "multiclass": np.digitize(score, [-1, 1, 2]).astype(str),
        "regression": score * 1e4 + 3e5,
    }
    return pa.table({"target": values[name]})


def trained(framework: Framework, model: str, name: TaskName, **changes: Any) -> tuple[Learned, Task, np.ndarray]:
    training = Training(
        target="target", task=name, features=FEATURES, framework=framework, model=f"{MODULES[framework]}:{model}",
        epochs=4, batch_size=32, learning_rate=0.01, hidden=[16], **changes,
    )  # fmt: skip
    known = labels_of(labels(name), name, "target")
    task = KINDS[name].learn(known)
    return learn(training, task, columns(), task.encode(known)), task, task.encode(known)


@pytest.mark.parametrize("name", ["binary", "multiclass", "regression"])
@pytest.mark.parametrize("framework", ["torch", "keras"])
def test_it_learns_and_its_graph_says_what_the_framework_says(framework: Framework, name: TaskName) -> None:
    model, task, known = trained(framework, "tabular_mlp", name)

    answers = model.predict(columns())
    _, difference = export.check_same(model.graph(), columns(), answers, FEATURES, task)

    assert difference < 1e-6
    metric = GOVERNOR_DEFAULT[name]
    truth, constant = known.astype(float), task.constant(known.astype(float))
    assert quality(metric, truth, answers.astype(float)) < 0.8 * quality(metric, truth, constant)


@pytest.mark.parametrize("framework", ["torch", "keras"])
def test_the_wide_baseline_learns_too(framework: Framework) -> None:
    model, task, known = trained(framework, "wide", "binary")

    answers = model.predict(columns())
    export.check_same(model.graph(), columns(), answers, FEATURES, task)

    assert quality("auc", known, answers.astype(float)) > 0.8


@pytest.mark.parametrize("framework", ["torch", "keras"])
@pytest.mark.parametrize("schedule", ["cosine", "constant"])
def test_schedules(framework: Framework, schedule: str) -> None:
    losses = trained(framework, "wide", "binary", schedule=schedule)[0].trainer.curves.loss

    assert losses[-1] < losses[0]


@pytest.mark.parametrize("framework", ["torch", "keras"])
def test_half_precision_in_training_leaves_a_graph_in_full(framework: Framework) -> None:
    model, task, known = trained(framework, "tabular_mlp", "binary", precision="bfloat16")

    answers = model.predict(columns())
    assert quality("auc", known, answers.astype(float)) > 0.8
    assert artefact.session_of(model.graph()).get_outputs()[0].type == "tensor(float)"


@pytest.mark.parametrize("framework", ["torch", "keras"])
def test_patience_stops_where_the_validation_rows_say_so(framework: Framework) -> None:
    model, task, known = trained(framework, "wide", "binary")
    matrix, labels = model.matrix(columns()), known.astype(np.float32)
    training = model.trainer.training.model_copy(update={"epochs": 40, "patience": 2, "learning_rate": 0.2})
    trains = frameworks.framework(framework)
    trains.make_deterministic(1)
    trainer = trains.build(training, model.preprocessor.layout, task, labels)

    # What it is checked by answers the other way round: each epoch makes it worse.
    curves = trainer.fit(Stream(InMemory(matrix, labels), 64, 1), (matrix, labels), validation=(matrix, 1 - labels))

    assert len(curves.loss) == 3
    assert curves.best_epoch == 1
    assert curves.validation_loss[0] < curves.validation_loss[1]


@pytest.mark.parametrize("framework", ["torch", "keras"])
@pytest.mark.parametrize(("name", "weights"), [("binary", {"true": 50.0}), ("multiclass", {"3": 50.0})])
def test_a_class_that_counts_more_is_said_more_often(framework: Framework, name: TaskName, weights: Any) -> None:
    usual, weighed = (
        trained(framework, "wide", name, class_weights=each)[0].predict(columns()) for each in (None, weights)
    )

    rare = (lambda answers: answers[:, 3]) if name == "multiclass" else (lambda answers: answers)
    assert rare(weighed).mean() > rare(usual).mean() + 0.1


@pytest.mark.parametrize("path", ["include.training.models:nothing", "nowhere.at_all:mlp"])
def test_a_model_that_is_not_there_is_named(path: str) -> None:
    training = Training(target="target", features=FEATURES, model=path)

    with pytest.raises(ConfigError, match=f"'training.model' is '{path}', which cannot be imported"):
        learn(training, KINDS["binary"](), columns(), np.ones(SIZE))
