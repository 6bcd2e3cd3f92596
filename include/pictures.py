"""This file turns pictures, as tables and requests hold them, into numbers."""

import base64
import io
import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt

from include.recipe import Image

FORMATS = ("PNG", "JPEG", "WEBP", "BMP")
LIKE_A_PICTURE = "^(iVBORw0KGgo|/9j/|UklGR|Qk)"  # how base64 of these begins
MOST_PIXELS = 4096 * 4096  # of an encoded picture: a small file can unfold into any size

_BILINEAR = 2  # Pillow's Resampling.BILINEAR

Pixels = npt.NDArray[np.float32]


def pixels_of(value: Any, image: Image) -> Pixels:
    """Return a picture's values, shape [height * width * channels]; NaN where there is none.

    An encoded one has 0 to 255.

    :param value: base64 of an encoded picture, a JSON list of values (nested or not) or such a list, or None.
    :raises ValueError: saying what is wrong with it.
    """
    if value is None or value == "":
        return np.full(image.size, np.nan, dtype=np.float32)
    if isinstance(value, str) and not value.lstrip().startswith("["):
        return _decoded(value, image)
    return _listed(json.loads(value) if isinstance(value, str) else value, image)


def image_of(value: str) -> Image | None:
    """Return what a picture in a table looks like; None if it is none."""
    try:
        if not value.lstrip().startswith("["):
            with _opened(value) as picture:
                return Image(height=picture.height, width=picture.width, channels=1 if picture.mode in "1L" else 3)
        shape = np.asarray(json.loads(value), dtype=np.float32).shape
        side = math.isqrt(shape[0]) if len(shape) == 1 else 0
        sides = (side, side) if side**2 == shape[0] else shape
        return Image(height=sides[0], width=sides[1], channels=sides[2] if len(sides) > 2 else 1)
    except (ValueError, TypeError, IndexError):
        return None


def _decoded(text: str, image: Image) -> Pixels:
    with _opened(text) as picture:
        shades = picture.convert("L" if image.channels == 1 else "RGB")
    if shades.size != (image.width, image.height):
        shades = shades.resize((image.width, image.height), _BILINEAR)
    return np.asarray(shades, dtype=np.float32).reshape(-1)


@contextmanager
def _opened(text: str) -> Iterator[Any]:
    # Imported here: an endpoint of numbers and categories never needs it.
    from PIL import Image as Pillow  # noqa: PLC0415

    try:
        with Pillow.open(io.BytesIO(base64.b64decode(text)), formats=FORMATS) as picture:
            _check_size(picture.width, picture.height)
            yield picture
    except (OSError, ValueError, SyntaxError, Pillow.DecompressionBombError) as error:
        raise ValueError(f"is no picture in base64 ({', '.join(FORMATS)}): {error}") from error


def _check_size(width: int, height: int) -> None:
    if width * height > MOST_PIXELS:
        raise ValueError(f"{width} x {height} pixels, at most {MOST_PIXELS} are unfolded")


def _listed(values: Any, image: Image) -> Pixels:
    try:
        found = np.asarray(values, dtype=np.float32).reshape(-1)
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError("is no list of numbers") from error
    if found.size != image.size:
        told = f"{image.height} x {image.width} x {image.channels}"
        raise ValueError(f"has {found.size} values, expected {image.size} ({told})")
    if not np.isfinite(found).all():
        raise ValueError("holds values that are no numbers")
    return found
