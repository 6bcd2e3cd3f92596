"""This file turns texts into codes of their words: the same by scikit-learn's side and inside the graph."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from onnx import NodeProto, TensorProto, ValueInfoProto, helper

from include.features import WORD

NOTHING, UNKNOWN, FIRST = 0, 1, 2  # codes: no more words; a word that is not in the list; the first one that is
# What WORD finds, in the words of re2, which the runtime's Tokenizer searches with: letters and digits of any script.
_WORD_OF_RE2 = r"[\pL\pN_]+"


@dataclass(frozen=True)
class Words:
    """The words a column's texts are made of.

    :param known: the most frequent ones, in that order.
    :param length: how many words of a text are read.
    """

    known: tuple[str, ...]
    length: int

    def codes(self, texts: Iterable[str]) -> npt.NDArray[np.float32]:
        """Return the codes of each text's words, shape [texts, length].

        :param texts: in lower case, as `include.features.model_inputs` gives them.
        """
        place = {word: code for code, word in enumerate(self.known, FIRST)}
        rows = [[place.get(word, UNKNOWN) for word in WORD.findall(text)[: self.length]] for text in texts]
        found = np.full((len(rows), self.length), NOTHING, dtype=np.float32)
        for row, codes in enumerate(rows):
            found[row, : len(codes)] = codes
        return found

    def graph_parts(self, column: str) -> tuple[list[NodeProto], list[TensorProto], list[ValueInfoProto], str]:
        """Return nodes, constants, what has to be said about values between, and the output's name.

        Tokenizer is ONNX Runtime's own operator (com.microsoft): the standard has none that splits by a pattern.
        """
        name = f"words/{column}/"
        constants = {"one_text": [-1], "length": [self.length], "start": [0], "axis": [1]}
        codes = [float(NOTHING), *(float(FIRST + place) for place in range(len(self.known)))]
        nodes = [
            helper.make_node("Reshape", [column, f"{name}one_text"], [f"{name}texts"]),
            helper.make_node(
                "Tokenizer", [f"{name}texts"], [f"{name}tokens"],
                domain="com.microsoft", mark=0, mincharnum=1, pad_value="", tokenexp=_WORD_OF_RE2,
            ),
            helper.make_node(
                "LabelEncoder", [f"{name}tokens"], [f"{name}all"],
                domain="ai.onnx.ml", keys_strings=["", *self.known], values_floats=codes, default_float=float(UNKNOWN),
            ),
            # As many columns as there are words in the longest text, which may be none: brought to `length`.
            helper.make_node("Shape", [f"{name}texts"], [f"{name}rows"]),
            helper.make_node("Concat", [f"{name}rows", f"{name}length"], [f"{name}shape"], axis=0),
            helper.make_node("ConstantOfShape", [f"{name}shape"], [f"{name}padding"]),
            helper.make_node("Concat", [f"{name}all", f"{name}padding"], [f"{name}long"], axis=1),
            helper.make_node(
                "Slice", [f"{name}long", f"{name}start", f"{name}length", f"{name}axis"], [f"{name}codes"]
            ),
        ]  # fmt: skip
        known = [helper.make_tensor(name + key, TensorProto.INT64, [1], value) for key, value in constants.items()]
        # Without it, ONNX's checker ends the whole process: it does not know what a Tokenizer gives (onnx 1.22).
        tokens = helper.make_tensor_value_info(f"{name}tokens", TensorProto.STRING, [None, None])
        return nodes, known, [tokens], f"{name}codes"


def learn_words(texts: Iterable[str], most: int, length: int) -> Words:
    """Return the most frequent words of some texts in lower case; of those that are as frequent, the first by name."""
    counts = Counter(word for text in texts for word in WORD.findall(text))
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return Words(tuple(word for word, _ in ranked[:most]), length)


def counts_of(codes: npt.NDArray[np.float32], most: int) -> npt.NDArray[np.float32]:
    """Return how often each of the most frequent words is in each text, shape [texts, most]."""
    rows, places = np.nonzero((codes >= FIRST) & (codes < FIRST + most))
    flat = rows * most + codes[rows, places].astype(np.intp) - FIRST
    return np.bincount(flat, minlength=len(codes) * most).reshape(len(codes), most).astype(np.float32)
