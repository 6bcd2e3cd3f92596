"""This file finds columns that know the target already: they will be missing when a prediction is asked for. Pure."""

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from include.onboarding.profile import Column, numbers_of

NEARLY_ALL = 0.999  # of the target's variance
MOST_ROWS = 20_000
MATTERS = 1e-3  # a coefficient of a column in spreads of the target, below which it adds nothing


def leaks(rows: pa.Table, columns: dict[str, Column], target: str) -> dict[str, str]:
    """Return the columns that give the target away, each with how.

    One by one: a column whose values are the target's under other names. Together: numbers of which the target is the
    sum, or any other linear combination.
    """
    rows = rows.filter(pc.is_valid(rows[target])).slice(0, MOST_ROWS)
    if not len(rows) or columns[target].is_constant:
        return {}
    others = [each for name, each in columns.items() if name != target and not each.is_constant]
    found = {each.name: f"is '{target}' itself" for each in others if _is_same(rows, each, columns[target])}
    found |= {
        each.name: f"has one value for each of '{target}'"
        for each in others
        if each.name not in found
        and each.distinct <= columns[target].distinct
        and _is_renaming(rows, each.name, target)
    }
    return found | _adding_up(rows, [each for each in others if each.name not in found], columns[target])


def _is_same(rows: pa.Table, column: Column, target: Column) -> bool:
    return bool(pc.all(pc.fill_null(pc.equal(rows[column.name], rows[target.name]), fill_value=False)).as_py())


def _is_renaming(rows: pa.Table, name: str, target: str) -> bool:
    """Tell whether each value of the column goes with one value of the target, and each of those with one of it."""
    pairs = rows.group_by([name, target]).aggregate([])
    return len(pairs) == len(pc.unique(rows[target])) == len(pc.unique(rows[name]))


def _adding_up(rows: pa.Table, columns: list[Column], target: Column) -> dict[str, str]:
    numbers = [each for each in columns if each.is_number and each.spread]
    if not target.is_number or not target.spread or not numbers or len(rows) <= 2 * len(numbers):
        return {}
    matrix = np.column_stack([_scaled(rows, each) for each in numbers])
    wanted = _scaled(rows, target)
    solution = np.linalg.lstsq(matrix, wanted, rcond=None)[0]
    unexplained = float(np.mean((wanted - matrix @ solution) ** 2))
    if unexplained > 1 - NEARLY_ALL:
        return {}
    guilty = [each.name for each, weight in zip(numbers, solution, strict=True) if abs(weight) > MATTERS]
    how = f"'{target.name}' can be calculated from {' and '.join(guilty)}"
    return dict.fromkeys(guilty, how)


def _scaled(rows: pa.Table, column: Column) -> npt.NDArray[np.float64]:
    values = np.asarray(pc.fill_null(numbers_of(rows[column.name], column.kind), column.mean).to_numpy())
    scaled: npt.NDArray[np.float64] = (values - column.mean) / column.spread
    return scaled
