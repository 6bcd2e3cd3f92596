"""This file turns columns into the model's inputs: the one step before the ONNX graph, the same everywhere."""

import logging
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from include.errors import BadValueError
from include.pictures import Pixels, pixels_of
from include.recipe import Features, Image

log = logging.getLogger(__name__)

OUTPUT = "prediction"
OPSET = 18  # of ONNX, that all parts of a graph are written in
WORD = re.compile(r"\w+")


def model_inputs(
    columns: Mapping[str, Sequence[Any] | npt.NDArray[Any]], features: Features, *, is_strict: bool = False
) -> dict[str, npt.NDArray[Any]]:
    """Return one array per feature, shape [rows, 1]: float32 with NaN for missing numbers, strings with "" for missing.

    Texts are in lower case. Of pictures there are all values, shape [rows, height * width * channels], NaN for missing.

    :param is_strict: refuse what is no picture; else it counts as missing, as one row must not stop a training.
    :raises BadValueError: if it is refused.
    :raises ValueError: if a numeric column holds something that is not a number.
    """
    # One array of all numbers, cut up: where one row is asked about, each array of its own would take a microsecond.
    numbers = np.array([columns[name] for name in features.numeric], dtype=np.float32)
    inputs: dict[str, npt.NDArray[Any]] = dict(zip(features.numeric, numbers[..., None], strict=True))
    words = [[value if isinstance(value, str) else "" for value in columns[name]] for name in features.categorical]
    # The graph's StringNormalizer could make them lower, but wants a locale that many images lack.
    words += [[value.lower() if isinstance(value, str) else "" for value in columns[name]] for name in features.text]
    names = (*features.categorical, *features.text)
    inputs |= zip(names, np.array(words, dtype=object)[..., None], strict=True)
    for name, image in features.image.items():
        inputs[name] = _pictures(columns[name], name, image, is_strict=is_strict)
    return inputs


def summaries(columns: Mapping[str, Sequence[Any]], features: Features) -> dict[str, npt.NDArray[np.float64]]:
    """Return a number per text, its count of words, and per picture, its mean value; NaN for missing ones."""
    found = {}
    for name in features.text:
        found[name] = np.array([len(WORD.findall(value)) if value else np.nan for value in columns[name]])
    for name, image in features.image.items():
        found[name] = _pictures(columns[name], name, image, is_strict=False).mean(axis=1, dtype=np.float64)
    return found


def _pictures(values: Sequence[Any] | npt.NDArray[Any], name: str, image: Image, *, is_strict: bool) -> Pixels:
    found = np.full((len(values), image.size), np.nan, dtype=np.float32)
    wrong: list[str] = []
    for row, value in enumerate(values):
        try:
            found[row] = pixels_of(value, image)
        except ValueError as error:
            if is_strict:
                raise BadValueError(f"'{name}' {error}.", field=name, row=row) from error
            wrong.append(f"{str(value)[:40]!r} {error}")
    if wrong:
        told = (name, len(wrong), len(values), wrong[0])
        log.warning("'%s': %s of %s pictures are none and count as missing, such as %s. Add a rule for them.", *told)
    return found
