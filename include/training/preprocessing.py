"""This file is what lies before the network: numbers are filled and scaled, words and categories numbered."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline as Steps
from sklearn.preprocessing import OrdinalEncoder, StandardScaler

from include.features import model_inputs
from include.recipe import Features
from include.training.layout import Layout
from include.training.shades import Shades, learn_shades
from include.training.words import Words, counts_of, learn_words

MOST_COUNTED = 200  # words of a text column that trees look at
_PICTURES = 2000  # whose values tell the scale of all

Columns = Mapping[str, npt.NDArray[Any]]
Matrix = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Preprocessor:
    """What was learned about each column, and how rows become what the network sees."""

    features: Features
    table: ColumnTransformer | None  # of numbers and categories; none, if there are neither
    words: dict[str, Words]
    shades: dict[str, Shades]

    def transform(self, columns: Columns) -> Matrix:
        """Return what the network sees, as `layout` describes it."""
        codes, pictures = self._others(columns)
        parts = [*self._table(columns), *codes, *pictures]
        return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)

    def for_trees(self, columns: Columns) -> Matrix:
        """Return what a tree can ask about: counts of words in place of their order."""
        codes, pictures = self._others(columns)
        return np.concatenate(
            [*self._table(columns), *(counts_of(each, MOST_COUNTED) for each in codes), *pictures], axis=1
        )

    @cached_property
    def layout(self) -> Layout:
        """Return what the columns of the matrix mean."""
        images = self.features.image.values()
        return Layout(
            numeric=len(self.features.numeric),
            categories=tuple(len(values) for values in self.categories.values()),
            texts=tuple((len(each.known), each.length) for each in self.words.values()),
            images=tuple((image.height, image.width, image.channels) for image in images),
        )

    @cached_property
    def categories(self) -> dict[str, list[str]]:
        """Return the known values of each categorical column."""
        if not self.features.categorical or self.table is None:
            return {}
        found = self.table.named_transformers_["categorical"].categories_
        return {
            name: [str(value) for value in values]
            for name, values in zip(self.features.categorical, found, strict=True)
        }

    def _table(self, columns: Columns) -> list[Matrix]:
        if self.table is None:
            return []
        return [np.ascontiguousarray(self.table.transform(_frame(columns, self.features)), dtype=np.float32)]

    def _others(self, columns: Columns) -> tuple[list[Matrix], list[Matrix]]:
        inputs = model_inputs(columns, self.features.others)
        codes = [each.codes(inputs[name].ravel()) for name, each in self.words.items()]
        return codes, [each.scaled(inputs[name]) for name, each in self.shades.items()]


def fit_preprocessor(
    columns: Columns, features: Features, categories: Mapping[str, list[str]] | None = None
) -> Preprocessor:
    """Learn medians, scales, categories and words.

    :param categories: the values of each categorical column in order, where they are more than these rows show.
    """
    inputs = model_inputs({name: columns[name] for name in features.text}, Features(text=features.text))
    words = {name: learn_words(inputs[name].ravel(), text.words, text.length) for name, text in features.text.items()}
    some = {name: columns[name][:: max(1, len(columns[name]) // _PICTURES)] for name in features.image}
    pictures = model_inputs(some, Features(image=features.image))
    shades = {name: learn_shades(pictures[name]) for name in features.image}
    return Preprocessor(features, _fit_table(columns, features, categories), words, shades)


def _fit_table(
    columns: Columns, features: Features, categories: Mapping[str, list[str]] | None
) -> ColumnTransformer | None:
    """Return a transformer after which numbers come first, then codes of categories, -1 for unknown."""
    if not (features.numeric or features.categorical):
        return None
    numbers = Steps([("fill", SimpleImputer(strategy="median", keep_empty_features=True)), ("scale", StandardScaler())])
    known = [np.array(categories[name], dtype=object) for name in features.categorical] if categories else "auto"
    codes = OrdinalEncoder(categories=known, handle_unknown="use_encoded_value", unknown_value=-1, dtype=np.float32)
    parts = [("numeric", numbers, features.numeric), ("categorical", codes, features.categorical)]
    table = ColumnTransformer([part for part in parts if part[2]])
    table.fit(_frame(columns, features))
    if features.numeric:
        _round_to_float32(table.named_transformers_["numeric"]["scale"])
    return table


def _frame(columns: Columns, features: Features) -> pd.DataFrame:
    return pd.DataFrame({name: columns[name] for name in features.tabular.names})


def _round_to_float32(scaler: StandardScaler) -> None:
    # The exported graph holds float32. With a mean of 1017.1234 and a spread of 7, rounding it only there would shift
    # the input by a millionth of its spread; rounded here, network and graph see the same numbers.
    scaler.mean_ = scaler.mean_.astype(np.float32).astype(np.float64)
    scaler.scale_ = scaler.scale_.astype(np.float32).astype(np.float64)
