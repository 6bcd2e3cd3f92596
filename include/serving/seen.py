"""This file says what a model's training has seen in each column, for its page in `/docs`."""

from collections import Counter

import pyarrow.compute as pc
import pyarrow.parquet as pq

from include.artefact import REFERENCE
from include.models import folder_of
from include.recipe import Features

MOST_NAMED = 12
Seen = tuple[float, float] | list[str]  # a column's smallest and largest number, or its most frequent values


def seen_in_training(model_uri: str, features: Features) -> dict[str, Seen]:
    """Return what is known, by column: nothing, where the model's reference is not there."""
    path = folder_of(model_uri) / REFERENCE
    if not path.exists():
        return {}
    there = set(pq.read_schema(path).names)
    table = pq.read_table(path, columns=[name for name in (*features.numeric, *features.categorical) if name in there])
    found: dict[str, Seen] = {}
    for name in table.column_names:
        if name in features.categorical:
            counts = Counter(value for value in table[name].to_pylist() if value)
            found[name] = [value for value, _ in counts.most_common(MOST_NAMED)]
        elif (ends := pc.min_max(table[name]).as_py())["min"] is not None:
            found[name] = (ends["min"], ends["max"])
    return found
