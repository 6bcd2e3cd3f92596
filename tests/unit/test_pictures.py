import base64
import io
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as Pillow

from include.pictures import image_of, pixels_of
from include.recipe import Image

GREY, COLOURED = Image(height=4, width=5), Image(height=4, width=5, channels=3)


def encoded(pixels: np.ndarray, kind: str = "PNG") -> str:
    with io.BytesIO() as file:
        Pillow.fromarray(pixels).save(file, kind)
        return base64.b64encode(file.getvalue()).decode()


@pytest.mark.parametrize("image", [GREY, COLOURED])
def test_an_encoded_picture_becomes_its_values_row_by_row(image):
    pixels = np.arange(image.size, dtype=np.uint8).reshape(image.height, image.width, -1).squeeze()

    found = pixels_of(encoded(pixels), image)

    np.testing.assert_array_equal(found, np.arange(image.size))
    np.testing.assert_array_equal(found, pixels_of(json.dumps(pixels.tolist()), image))
    np.testing.assert_array_equal(found, pixels_of(list(range(image.size)), image))
    assert image_of(encoded(pixels)) == image


def test_another_size_is_resized_and_colours_become_shades():
    white = np.full((9, 7, 3), 255, dtype=np.uint8)

    np.testing.assert_array_equal(pixels_of(encoded(white), GREY), np.full(20, 255))


@pytest.mark.parametrize("nothing", [None, ""])
def test_no_picture_is_no_number(nothing):
    assert np.isnan(pixels_of(nothing, GREY)).all()


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("holiday.jpg", "is no picture in base64"),
        (encoded(np.zeros((4, 5), np.uint8))[:60], "is no picture in base64"),
        (encoded(np.zeros((4, 5), np.uint8), "GIF"), "is no picture in base64"),
        (encoded(np.zeros((4097, 4096), np.uint8)), "4096 x 4097 pixels, at most"),
        ("[1, 2, 3]", "has 3 values, expected 20 .4 x 5 x 1."),
        ("[1, 2", "Expecting"),
        ([[1, 2], [3]], "is no list of numbers"),
        (["a"] * 20, "is no list of numbers"),
        ([float("nan")] * 20, "values that are no numbers"),
        ([10**400] * 20, "no list of numbers|no numbers"),
    ],
)
def test_what_is_wrong_is_said(value, problem):
    with pytest.raises(ValueError, match=problem):
        pixels_of(value, GREY)


@given(st.one_of(st.text(), st.recursive(st.none() | st.floats() | st.text(), st.lists), st.binary().map(str)))
def test_whatever_comes_is_values_or_a_value_error(value):
    try:
        shape = pixels_of(value, GREY).shape
    except ValueError:
        shape = (20,)
    assert shape == (20,)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (json.dumps([0] * 64), Image(height=8, width=8)),
        (json.dumps([[0] * 6] * 5), Image(height=5, width=6)),
        (json.dumps([[[0, 0, 0]] * 6] * 5), Image(height=5, width=6, channels=3)),
        (json.dumps([0] * 63), None),
        (json.dumps([]), None),
        ("[late]", None),
        ("AA", None),
        ("hello there", None),
    ],
)
def test_what_a_column_seems_to_hold(value, expected):
    assert image_of(value) == expected
