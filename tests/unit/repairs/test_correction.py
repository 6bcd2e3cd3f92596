import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from include import artefact
from include.errors import ArtefactError
from include.features import OUTPUT
from include.learning.calibration import Affine, Logistic, Temperature
from include.recipe import Features
from include.repairs.correction import corrected, uncorrected

FEATURES = Features(numeric=["x"])


def graph_of(operator: str, **attributes) -> bytes:
    """A model of one column: what comes in, put through one operator, comes out as the answer."""
    width = 1 if operator != "Softmax" else 3
    nodes = [helper.make_node("Concat", ["x"] * width, ["wide"], axis=1), helper.make_node(operator, ["wide"], ["raw"])]
    nodes += (
        [helper.make_node("Add", ["raw", "nothing"], [OUTPUT])]
        if width > 1
        else [helper.make_node("Reshape", ["raw", "flat"], [OUTPUT])]
    )
    constants = [
        helper.make_tensor("nothing", TensorProto.FLOAT, [3], [0.0, 0.1, -0.1]),
        helper.make_tensor("flat", TensorProto.INT64, [1], [-1]),
    ]
    shape = ["rows"] if width == 1 else ["rows", width]
    graph = helper.make_graph(
        nodes,
        "model",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["rows", 1])],
        [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, shape)],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    return model.SerializeToString(deterministic=True)


def answers(content: bytes) -> np.ndarray:
    rows = {"x": np.linspace(-20, 20, 401, dtype=np.float32)}
    return artefact.predict(artefact.session_of(content), rows, FEATURES)


@pytest.mark.parametrize(
    ("operator", "correction"),
    [
        ("Sigmoid", Logistic(slope=0.7, intercept=-1.2)),
        ("Softmax", Temperature(sharpness=1.3, biases=(0.2, 0.0, -0.4))),
        ("Identity", Affine(slope=1.5, intercept=-3)),
    ],
)
def test_the_corrected_graph_answers_as_the_correction_says(operator, correction):
    plain = graph_of(operator)
    expected = correction.apply(answers(plain).astype(np.float64))
    assert answers(corrected(plain, correction)) == pytest.approx(expected, abs=2e-6, rel=1e-6)


def test_a_new_correction_replaces_the_old_one():
    plain = graph_of("Sigmoid")
    twice = corrected(corrected(plain, Logistic(0.5, 2.0)), Logistic(0.9, 0.1))
    assert twice == corrected(plain, Logistic(0.9, 0.1))


def test_taken_out_again_it_leaves_the_graph_as_it_was():
    plain = graph_of("Sigmoid")
    assert uncorrected(corrected(plain, Logistic(0.5, 2.0))) == plain
    assert uncorrected(plain) == plain


def test_a_graph_of_somebody_else_is_refused():
    model = onnx.load_from_string(graph_of("Sigmoid"))
    model.graph.node[-1].output[0] = "other"
    with pytest.raises(ArtefactError, match="no output 'prediction'"):
        corrected(model.SerializeToString(), Logistic(0.5, 2.0))
