"""This file says what the columns of the matrix mean that a network is given."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Layout:
    """Scaled numbers come first, then a code per categorical column: 0, 1, … for known values, -1 for unknown.

    :param numeric: how many numbers.
    :param categories: known values of each categorical column.
    """

    numeric: int
    categories: tuple[int, ...]

    @property
    def width(self) -> int:
        """Return the number of columns."""
        return self.numeric + len(self.categories)
