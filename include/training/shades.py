"""This file brings the values of pictures to one scale: the same by NumPy's side and inside the graph."""

from dataclasses import dataclass

import numpy as np
from onnx import NodeProto, TensorProto, helper

from include.pictures import Pixels


@dataclass(frozen=True)
class Shades:
    """Mean and spread of all values of a column's pictures; a missing picture is all mean."""

    mean: float
    spread: float

    def scaled(self, pictures: Pixels) -> Pixels:
        """Return the values in spreads from the mean, in the same shape."""
        found = (pictures - np.float32(self.mean)) / np.float32(self.spread)
        return np.where(np.isnan(found), np.float32(0), found)

    def graph_parts(self, column: str) -> tuple[list[NodeProto], list[TensorProto], str]:
        """Return nodes, constants, and the output's name."""
        name = f"shades/{column}/"
        constants = {"mean": self.mean, "spread": self.spread, "nought": 0.0}
        nodes = [
            helper.make_node("Sub", [column, f"{name}mean"], [f"{name}moved"]),
            helper.make_node("Div", [f"{name}moved", f"{name}spread"], [f"{name}any"]),
            helper.make_node("IsNaN", [f"{name}any"], [f"{name}missing"]),
            helper.make_node("Where", [f"{name}missing", f"{name}nought", f"{name}any"], [f"{name}scaled"]),
        ]
        known = [helper.make_tensor(name + key, TensorProto.FLOAT, [1], [value]) for key, value in constants.items()]
        return nodes, known, f"{name}scaled"


def learn_shades(pictures: Pixels) -> Shades:
    """Return mean and spread of all values that are there."""
    known = pictures[~np.isnan(pictures)]
    if not len(known):
        return Shades(0.0, 1.0)
    return Shades(float(np.mean(known, dtype=np.float64)), float(np.std(known, dtype=np.float64)) or 1.0)
