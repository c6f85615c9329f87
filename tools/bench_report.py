"""What the bench found, as tables for a terminal and for the documentation."""

import statistics
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from rich.table import Table

NOTHING = "-"


@dataclass(frozen=True)
class Spread:
    """One thing that was measured several times."""

    values: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    @property
    def least(self) -> float:
        return min(self.values)

    @property
    def most(self) -> float:
        return max(self.values)

    def __str__(self) -> str:
        """The median, and in brackets the least and the most where they show as something else."""
        median, least, most = map(number, (self.median, self.least, self.most))
        return median if median == least == most else f"{median} ({least} to {most})"


@dataclass(frozen=True)
class Section:
    """A table with its heading, and what has to be known for reading it.

    Attributes:
        title: the heading.
        note: what has to be known.
        columns: their names.
        rows: the cells.
        labels: how many of the columns say what a row is about; the others are figures.
    """

    title: str
    note: str
    columns: Sequence[str]
    rows: list[Sequence[str]] = field(default_factory=list)
    labels: int = 1


COMPARED = ("what", "this provider", "official", "of the official's")
"""The columns of `compare`."""


def compare(
    names: Iterable[str], ours: Sequence[Spread], official: Sequence[Spread] | None
) -> Iterator[Sequence[str]]:
    """A row for each thing that was measured with both providers, or with ours alone."""
    for index, (name, one) in enumerate(zip(names, ours, strict=True)):
        if official is None:
            yield name, str(one), NOTHING, NOTHING
        else:
            yield name, str(one), str(official[index]), ratio(one.median, official[index].median)


def spreads(rows: Iterable[Iterable[float]]) -> list[Spread]:
    """One spread for each figure that all of the rows have."""
    return [Spread(tuple(values)) for values in zip(*rows, strict=True)]


def number(value: float) -> str:
    """Three digits that mean something."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}" if value == 0 or abs(value) >= 0.01 else f"{value:.2f}"


def ratio(numerator: float, denominator: float) -> str:
    """How many percent of the other; nothing where there is nothing to compare with."""
    return f"{number(100 * numerator / denominator)} %" if denominator > 0 else NOTHING


def percentile_95(values: Sequence[float]) -> float:
    """The value that 95 of 100 do not exceed."""
    return statistics.quantiles(values, n=20, method="inclusive")[-1] if len(values) > 1 else values[0]


def table(section: Section) -> Table:
    """A section for a terminal: narrow."""
    shown = Table(
        title=section.title,
        caption=section.note,
        show_lines=True,
        title_justify="left",
        caption_justify="left",
    )
    for index, column in enumerate(section.columns):
        shown.add_column(column, justify="left" if index < section.labels else "right")
    for row in section.rows:
        shown.add_row(*(cell.replace(" (", "\n(") for cell in row))
    return shown


def markdown(sections: Iterable[Section]) -> str:
    """All sections for the documentation."""
    return "\n".join(_markdown(section) for section in sections)


def _markdown(section: Section) -> str:
    aligned = ["---"] * section.labels + ["--:"] * (len(section.columns) - section.labels)
    lines = (section.columns, aligned, *section.rows)
    rows = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return f"## {section.title}\n\n{section.note}\n\n{rows}\n"
