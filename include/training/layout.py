"""This file says what the columns of the matrix mean that a network is given."""

from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from include.errors import ConfigError

MOST_LEFT = 4  # pixels at a side, of which a picture has enough of being halved
MOST_FILTERS = 64


@dataclass(frozen=True)
class Parts:
    """A matrix cut into what its columns mean, each [rows, …]."""

    numbers: Any  # [rows, numbers], scaled
    codes: Any  # [rows, categorical columns]
    texts: list[Any]  # [rows, length]
    images: list[Any]  # [rows, height * width * channels], scaled


@dataclass(frozen=True)
class Layout:
    """Scaled numbers come first, then codes of categories, then codes of words, then the values of pictures.

    :param numeric: how many numbers.
    :param categories: how many known values each categorical column has: codes 0, 1, …, and -1 for unknown.
    :param texts: of each text column, (known words, words read): codes as include/training/words.py says.
    :param images: of each picture column, (height, width, channels).
    """

    numeric: int
    categories: tuple[int, ...] = ()
    texts: tuple[tuple[int, int], ...] = ()
    images: tuple[tuple[int, int, int], ...] = ()

    @property
    def widths(self) -> list[int]:
        """Return the number of columns of each part, in order."""
        texts = (length for _, length in self.texts)
        images = (height * width * channels for height, width, channels in self.images)
        return [self.numeric, len(self.categories), *texts, *images]

    @property
    def stretches(self) -> list[slice]:
        """Return where each raw column lies, in the order of `Features.names`."""
        widths = [1] * (self.numeric + len(self.categories)) + self.widths[2:]
        ends = list(accumulate(widths))
        return [slice(end - width, end) for width, end in zip(widths, ends, strict=True)]

    @property
    def width(self) -> int:
        """Return the number of columns."""
        return sum(self.widths)

    def cut(self, matrix: Any) -> Parts:
        """Return a matrix' parts; any framework's tensors will do."""
        found, start = [], 0
        for width in self.widths:
            found.append(matrix[:, start : start + width])
            start += width
        numbers, codes, *others = found
        return Parts(numbers, codes, others[: len(self.texts)], others[len(self.texts) :])

    @property
    def is_table(self) -> bool:
        """Tell whether there are numbers and categories only."""
        return not (self.texts or self.images)

    @property
    def usual_model(self) -> str:
        """Return the name of the network that fits, among those that come with Evergreen."""
        return "tabular_mlp" if self.is_table else "mixed_mlp"

    def expect_table(self, model: str) -> None:
        """Refuse texts and pictures for a model that takes none.

        :raises ConfigError: naming one that does.
        """
        if not self.is_table:
            raise ConfigError(
                f"The model '{model}' takes numbers and categories; 'training.features' has texts or pictures, too. "
                "Leave 'training.model' out, name 'mixed_mlp', or one of your own; see docs/training.md."
            )


@dataclass(frozen=True)
class Halving:
    """A step in which a picture gets half as high and wide, and is looked at with more filters."""

    filters: int
    height: int
    width: int


def halvings(height: int, width: int) -> list[Halving]:
    """Return the steps in which a small convolutional network goes through a picture: 16 filters, 32, 64."""
    steps: list[Halving] = []
    while max(height, width) > MOST_LEFT or not steps:
        height, width = -(-height // 2), -(-width // 2)
        steps.append(Halving(min(MOST_FILTERS, 16 * 2 ** len(steps)), height, width))
    return steps
