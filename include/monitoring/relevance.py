"""This file says how much each column's drift matters: as much as the model relies on the column."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from include.recipe import Features


@dataclass(frozen=True)
class Weights:
    """What each feature's drift counts, in shares of 1, and where that is from."""

    by: Literal["importance", "equal"]
    shares: Mapping[str, float]
    why: str = ""  # they are equal


def weights_of(manifest: Mapping[str, Any], features: Features) -> Weights:
    """Return the features' weights by the permutation importance in a model's manifest; equal where there is none."""
    importance = {name: max(float(value), 0.0) for name, value in manifest.get("importance", {}).items()}
    total = sum(importance.get(name, 0.0) for name in features.names)
    if total > 0:
        return Weights("importance", {name: importance.get(name, 0.0) / total for name in features.names})
    why = "no column's importance is above nought" if importance else "its training measured no importance"
    equal = dict.fromkeys(features.names, 1 / max(len(features.names), 1))
    return Weights("equal", equal, f"All columns count alike: {why}.")
