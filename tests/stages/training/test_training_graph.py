"""Preprocessing, network and their one ONNX graph."""

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pyarrow as pa
import pytest
import torch

from include import artefact
from include.errors import ArtefactError
from include.learning.binary import Binary
from include.learning.kinds import KINDS
from include.recipe import Features, Training
from include.training import export
from include.training.data import Window
from include.training.heads import BinaryHead
from include.training.in_memory import learn
from include.training.layout import Layout
from include.training.models import tabular_mlp
from include.training.preprocessing import fit_preprocessor
from include.training.spec import Spec
from include.training.torch_trainer import Trainer


class Model:
    """A trained model in all its forms."""

    def __init__(self, spec: Spec, train: Window, holdout: Window) -> None:
        self.features, self.holdout = spec.training.features, holdout
        self.task = KINDS[spec.training.task].learn(train.labels)
        learned = learn(spec.training, self.task, train.columns, self.task.encode(train.labels))
        self.trainer, self.preprocessor = learned.trainer, learned.preprocessor
        self.matrix = learned.matrix(holdout.columns)
        self.content = learned.graph()
        self.session = artefact.session_of(self.content)

    def ask(self, **columns: Any) -> np.ndarray:
        return artefact.predict(self.session, columns, self.features)


@pytest.fixture(scope="module")
def model(rows: pa.Table, make_spec: Callable[..., Spec], split: Any) -> Model:
    return Model(make_spec(), *split(rows, make_spec()))


def test_the_graph_says_what_pytorch_says(model: Model) -> None:
    predictions, difference = export.check_same(
        model.content, model.holdout.columns, model.trainer.predict(model.matrix), model.features, model.task
    )

    assert difference < 1e-6
    assert predictions.shape == (len(model.holdout),)


def test_the_graph_takes_raw_columns_and_gives_one_probability(model: Model) -> None:
    graph = onnx.load_from_string(model.content).graph

    shapes = {
        put.name: [d.dim_value or None for d in put.type.tensor_type.shape.dim] for put in [*graph.input, *graph.output]
    }
    kinds = {put.name: put.type.tensor_type.elem_type for put in graph.input}
    assert shapes == {**{name: [None, 1] for name in model.features.names}, "prediction": [None]}
    assert {kinds[name] for name in model.features.numeric} == {onnx.TensorProto.FLOAT}
    assert {kinds[name] for name in model.features.categorical} == {onnx.TensorProto.STRING}


def test_one_row_alone_is_answered_as_in_a_batch(model: Model) -> None:
    columns = {name: values[:5] for name, values in model.holdout.columns.items()}

    alone = [model.ask(**{name: values[row : row + 1] for name, values in columns.items()})[0] for row in range(5)]

    np.testing.assert_allclose(alone, model.ask(**columns), atol=1e-6)


def test_missing_and_unknown_values_are_answered(model: Model) -> None:
    answers = model.ask(
        distance=[None, 1000.0],
        humidity=[None, 3],
        never_there=[None, 12.0],
        carrier=[None, "??"],
        dest=["", "nowhere"],
    )

    assert np.isfinite(answers).all()
    assert ((answers > 0) & (answers < 1)).all()


def test_all_unknown_categories_are_the_same_to_the_model(model: Model) -> None:
    one, other = model.ask(
        distance=[1.0, 1.0], humidity=[1, 1], never_there=[0, 0], carrier=["?", "!"], dest=["?", "!"]
    )

    assert one == other


def test_the_model_has_learned_the_direction(model: Model) -> None:
    near, far = model.ask(
        distance=[990, 1010], humidity=[50, 50], never_there=[0, 0], carrier=["AA", "AA"], dest=["ATL", "ATL"]
    )

    assert near < far


def test_the_same_model_is_the_same_file(model: Model) -> None:
    assert export.export(model.preprocessor, model.trainer.graph(5)) == model.content


def test_a_graph_that_differs_is_refused(model: Model) -> None:
    expected = model.trainer.predict(model.matrix)
    expected[3] += 1e-3

    with pytest.raises(ArtefactError, match=r"differs from the framework's answers by up to 1\.00e-03"):
        export.check_same(model.content, model.holdout.columns, expected, model.features, model.task)


def test_categories_alone_are_enough(rows: pa.Table, make_spec: Callable[..., Spec], split: Any) -> None:
    training = Training(target="late", features=Features(categorical=["carrier"]), epochs=1, hidden=[4])
    spec = make_spec(training=training)

    model = Model(spec, *split(rows, spec))

    assert len(model.ask(**{name: values[:3] for name, values in model.holdout.columns.items()})) == 3


def test_numbers_alone_are_enough_and_a_small_spread_survives_float32() -> None:
    features = Features(numeric=["year", "pressure"])
    random = np.random.default_rng(0)
    columns = {
        "year": (2013 + random.integers(0, 2, 500)).astype(np.float32),
        "pressure": random.normal(101_700, 7, 500).astype(np.float32),
    }
    preprocessor = fit_preprocessor(columns, features)
    torch.manual_seed(0)
    training = Training(target="late", features=features)
    network = tabular_mlp(Layout(2, ()), training, torch.zeros(1))
    torch.nn.init.normal_(network.head.weight)
    trainer = Trainer(network, BinaryHead(), training)
    expected = trainer.predict(preprocessor.transform(columns))

    content = export.export(preprocessor, trainer.graph(2))
    _, difference = export.check_same(content, columns, expected, features, Binary())

    assert difference < 2e-6
