"""This file measures whether a window's columns are as complete and as ordinary as those of the training window."""

from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from include.monitoring.drift import is_numeric
from include.recipe import Features

SMALLEST_RISE = 0.05  # of a share: less is an ordinary day


def measure_inputs(
    current: pa.Table, reference: pa.Table, features: Features, manifest: Mapping[str, Any]
) -> dict[str, Any]:
    """Return each feature's shares of missing, unseen and out-of-range values, and "drifted" where one has risen.

    Missing: null, not a number, or "" in a column of text; it is held against the training window's share. Unseen: text
    that training did not have. Out of range: a number beyond all that training had. The last two are shares of what is
    not missing; in training both are 0.
    """
    if not len(current):
        return {"state": "unknown", "why": "no rows"}
    columns = {name: _column(current, reference, name, manifest) for name in features.names}
    worse = [f"{name}: {column['why']}" for name, column in columns.items() if column["state"] == "drifted"]
    return {"state": "drifted" if worse else "stable", "why": "; ".join(worse), "columns": columns}


def _column(current: pa.Table, reference: pa.Table, name: str, manifest: Mapping[str, Any]) -> dict[str, Any]:
    before = _missing(reference, name)
    found = {"missing": _missing(current, name)}
    if name in current.column_names:
        found |= _strange(current[name], manifest.get("ranges", {}).get(name), manifest.get("categories", {}).get(name))
    risen = {kind: share - (before if kind == "missing" else 0.0) for kind, share in found.items()}
    why = [f"{found[kind]:.0%} {kind}" for kind, rise in risen.items() if rise > SMALLEST_RISE]
    if why and name not in current.column_names:
        why = ["not a column of this day"]
    shares = {kind: round(share, 6) for kind, share in found.items()}
    in_training = {"missing_in_training": round(before, 6)}
    return {"state": "drifted" if why else "stable", "why": ", ".join(why), **shares, **in_training}


def _missing(table: pa.Table, name: str) -> float:
    if name not in table.column_names:
        return 1.0
    return 1 - len(_present(table[name])) / max(len(table), 1)


def _present(column: pa.ChunkedArray) -> pa.ChunkedArray:
    values = column.drop_null()
    if pa.types.is_floating(values.type):
        return values.filter(pc.is_finite(values))
    if pa.types.is_string(values.type) or pa.types.is_large_string(values.type):
        return values.filter(pc.not_equal(values, ""))
    return values


def _strange(column: pa.ChunkedArray, limits: list[float] | None, seen: list[str] | None) -> dict[str, float]:
    values = _present(column)
    if not len(values):
        return {}
    if seen is not None:
        is_known = pc.is_in(values.cast(pa.string()), value_set=pa.array(seen, pa.string()))
        return {"unseen": 1 - pc.sum(is_known).as_py() / len(values)}
    if limits is not None and is_numeric(values.type):
        numbers = values.cast(pa.float64())
        outside = pc.or_(pc.less(numbers, limits[0]), pc.greater(numbers, limits[1]))
        return {"out_of_range": pc.sum(outside).as_py() / len(values)}
    return {}
