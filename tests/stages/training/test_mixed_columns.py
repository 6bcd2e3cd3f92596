"""Texts and pictures, real ones: handwritten digits, and what libraries say of their own functions."""

import base64
import io
import json
from typing import Any

import numpy as np
import numpy.linalg
import onnx
import pyarrow as pa
import pytest
import scipy.stats
from PIL import Image as Pillow
from sklearn.datasets import load_digits

from include.errors import ConfigError
from include.evaluation import quality
from include.learning.kinds import KINDS, labels_of
from include.learning.multiclass import Multiclass
from include.recipe import Features, Framework, Image, Text, Training
from include.repairs.scout import scout
from include.training import export
from include.training.in_memory import learn
from include.training.preprocessing import fit_preprocessor

Columns = dict[str, np.ndarray]
DIGIT = Image(height=8, width=8)


def encoded(pixels: np.ndarray) -> str:
    with io.BytesIO() as file:
        Pillow.fromarray((pixels * 15).astype(np.uint8)).save(file, "PNG")
        return base64.b64encode(file.getvalue()).decode()


def digits() -> tuple[Columns, pa.Table, Features]:
    found = load_digits()
    pictures: Any = [encoded(each) for each in found.images[:1200]]
    pictures[0] = None
    names = pa.table({"target": [f"a {number}" for number in found.target[:1200]]})
    return {"picture": np.array(pictures, object)}, names, Features(image={"picture": DIGIT})


def sentences() -> tuple[Columns, pa.Table, Features]:
    """Return what two libraries say of their functions: one draws and tests, the other multiplies and solves."""
    texts, sources = [], []
    for module in (numpy.linalg, scipy.stats):
        for name in sorted(dir(module)):
            for line in (getattr(module, name).__doc__ or "").splitlines():
                if len(line.split()) >= 5:
                    texts.append(line)
                    sources.append(module.__name__)
    chosen = np.sort(np.random.default_rng(0).permutation(len(texts))[:3000])
    texts = [texts[place] for place in chosen]
    columns = {"line": np.array(texts, object), "length": np.array([len(each) for each in texts], np.float32)}
    names = pa.table({"target": [sources[place] for place in chosen]})
    return columns, names, Features(numeric=["length"], text={"line": Text(words=500, length=20)})


def learned(framework: Framework, columns: Columns, names: pa.Table, features: Features, **changes: Any) -> Any:
    settings = {"epochs": 12, "batch_size": 32, "learning_rate": 0.005, "hidden": [32], **changes}
    training = Training(target="target", task="multiclass", features=features, framework=framework, **settings)
    known = labels_of(names, "multiclass", "target")
    task = KINDS["multiclass"].learn(known)
    return learn(training, task, columns, task.encode(known)), task, task.encode(known)


@pytest.mark.parametrize("framework", ["torch", "keras"])
@pytest.mark.parametrize("rows", [digits, sentences])
def test_it_learns_and_its_graph_says_what_the_framework_says(framework: Framework, rows: Any) -> None:
    columns, names, features = rows()
    held_out = np.arange(len(names)) % 5 == 0
    parts = [{name: values[mask] for name, values in columns.items()} for mask in (~held_out, held_out)]
    model, task, _ = learned(framework, parts[0], names.filter(pa.array(~held_out)), features)
    truth = task.encode(labels_of(names, "multiclass", "target"))[held_out].astype(float)

    answers = model.predict(parts[1])
    content = model.graph()
    _, difference = export.check_same(content, parts[1], answers, features, task)

    assert difference < 1e-6
    assert quality("accuracy", truth, answers.astype(float)) > 0.85
    assert [node.name for node in onnx.load_from_string(content).graph.input] == list(features.names)


def test_a_list_of_values_is_the_same_as_the_picture() -> None:
    columns, names, features = digits()
    model, _, _ = learned("torch", columns, names, features, epochs=1)
    listed = [json.dumps((each * 15).astype(int).tolist()) for each in load_digits().images[1:5]]

    same = model.predict({"picture": np.array(listed, object)})

    np.testing.assert_array_equal(same, model.predict({"picture": columns["picture"][1:5]}))


def test_trees_look_at_words_and_pixels() -> None:
    for columns, names, features in (digits(), sentences()):
        known = labels_of(names, "multiclass", "target")
        task = KINDS["multiclass"].learn(known)
        labels = task.encode(known).astype(float)
        half = len(labels) // 2
        first = {name: values[:half] for name, values in columns.items()}

        answers = scout(task, (first, labels[:half]), columns, features, 1000)

        assert quality("accuracy", labels[half:], answers[half:]) > 0.6


def test_all_that_a_text_may_be_is_cut_into_the_same_words_in_the_graph() -> None:
    random = np.random.default_rng(0)
    signs = [chr(number) for number in (*range(32, 0x250), *range(0x3B1, 0x3CA), *range(0x4E00, 0x4E20))]
    texts = ["", " !", "don't", "o\nb", "x" * 500, *("".join(random.choice(signs, 30)) for _ in range(2000))]
    columns = {"line": np.array(texts, object)}
    features = Features(text={"line": Text(words=50, length=7)})
    preprocessor = fit_preprocessor(columns, features)
    matrix = onnx.helper.make_tensor_value_info("matrix", onnx.TensorProto.FLOAT, [None, 7])
    output = onnx.helper.make_tensor_value_info("prediction", onnx.TensorProto.FLOAT, [None, 7])
    same = onnx.helper.make_node("Identity", ["matrix"], ["prediction"])
    graph = onnx.helper.make_graph([same], "same", [matrix], [output])
    back = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)])

    content = export.export(preprocessor, back)

    task = Multiclass(tuple(str(number) for number in range(7)))
    export.check_same(content, columns, preprocessor.transform(columns), features, task)
    nothing = {"line": np.array(["", ""], object)}
    export.check_same(content, nothing, np.zeros((2, 7), np.float32), features, task)


@pytest.mark.parametrize("framework", ["torch", "keras"])
@pytest.mark.parametrize("model", ["tabular_mlp", "wide"])
def test_a_model_of_tables_refuses_pictures(framework: Framework, model: str) -> None:
    columns, names, features = digits()
    module = {"torch": "include.training.models", "keras": "include.training.keras_models"}[framework]

    with pytest.raises(ConfigError, match=f"'{model}' takes numbers and categories"):
        learned(framework, columns, names, features, model=f"{module}:{model}")
