"""What is counted of several things, and can be added up."""

import dataclasses
from typing import Self


@dataclasses.dataclass
class Counts:
    """Numbers, each a field of a dataclass that derives from this."""

    def __add__(self, other: Self) -> Self:
        return type(self)(*(one + two for one, two in zip(self.cells, other.cells, strict=True)))

    @property
    def cells(self) -> tuple[int, ...]:
        """The numbers, in the order of the fields."""
        return dataclasses.astuple(self)
