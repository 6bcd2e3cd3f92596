"""This file is the scikit-learn part of the model: it fills and scales numbers, and numbers categories."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline as Steps
from sklearn.preprocessing import OrdinalEncoder, StandardScaler

from include.recipe import Features


def fit_preprocessor(
    columns: Mapping[str, npt.NDArray[Any]], features: Features, categories: Mapping[str, list[str]] | None = None
) -> ColumnTransformer:
    """Learn medians, scales and categories; numbers come out first, then codes of categories, -1 for unknown.

    :param categories: the values of each categorical column in order, where they are more than these rows show.
    """
    numbers = Steps([("fill", SimpleImputer(strategy="median", keep_empty_features=True)), ("scale", StandardScaler())])
    known = [np.array(categories[name], dtype=object) for name in features.categorical] if categories else "auto"
    codes = OrdinalEncoder(categories=known, handle_unknown="use_encoded_value", unknown_value=-1, dtype=np.float32)
    parts = [("numeric", numbers, features.numeric), ("categorical", codes, features.categorical)]
    preprocessor = ColumnTransformer([part for part in parts if part[2]])
    preprocessor.fit(_frame(columns, features))
    if features.numeric:
        _round_to_float32(preprocessor.named_transformers_["numeric"]["scale"])
    return preprocessor


def transform(
    preprocessor: ColumnTransformer, columns: Mapping[str, npt.NDArray[Any]], features: Features
) -> npt.NDArray[np.float32]:
    """Return what the network sees."""
    return np.ascontiguousarray(preprocessor.transform(_frame(columns, features)), dtype=np.float32)


def categories_of(preprocessor: ColumnTransformer, features: Features) -> dict[str, list[str]]:
    """Return the categories seen in training, by column."""
    if not features.categorical:
        return {}
    found = preprocessor.named_transformers_["categorical"].categories_
    return {name: [str(value) for value in values] for name, values in zip(features.categorical, found, strict=True)}


def _frame(columns: Mapping[str, npt.NDArray[Any]], features: Features) -> pd.DataFrame:
    return pd.DataFrame({name: columns[name] for name in features.names})


def _round_to_float32(scaler: StandardScaler) -> None:
    # The exported graph holds float32. With a mean of 1017.1234 and a spread of 7, rounding it only there would shift
    # the input by a millionth of its spread; rounded here, network and graph see the same numbers.
    scaler.mean_ = scaler.mean_.astype(np.float32).astype(np.float64)
    scaler.scale_ = scaler.scale_.astype(np.float32).astype(np.float64)
