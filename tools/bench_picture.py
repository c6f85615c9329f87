"""The bench's picture: what waiting costs against how many wait, on logarithmic axes."""

from collections.abc import Mapping
from pathlib import Path

import matplotlib as mpl
from bench_report import Spread
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

Line = Mapping[int, Spread]
"""How many wait → what was measured."""
Panels = Mapping[str, Mapping[str, Line]]
"""The title of a panel → the name of a line → the line."""

COLOURS = ("#1f6feb", "#d1242f", "#1a7f37", "#8250df")
NEXT_TO_NOTHING = 1e-3
"""Stands for zero, which a logarithmic axis has no place for."""


def draw(panels: Panels, file: Path) -> None:
    """Write the panels side by side, two in a row; the file's name says whether as SVG or PNG."""
    mpl.rcParams["svg.hashsalt"] = "bench"  # the same figures make the same file
    figure = Figure(figsize=(10, 3.4 * -(-len(panels) // 2)), layout="constrained")
    grid = figure.subplots(-(-len(panels) // 2), 2, squeeze=False).flat
    names = list(dict.fromkeys(name for lines in panels.values() for name in lines))
    for axes, (title, lines) in zip(grid, panels.items(), strict=False):
        axes.set(title=title, xscale="log", yscale="log", xlabel="runs that are waited for")
        axes.grid(which="major", alpha=0.3)
        for formatter in (axes.xaxis, axes.yaxis):
            formatter.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
        for name, line in lines.items():
            _draw_line(axes, name, line, names.index(name))
    figure.legend(*_handles(figure), loc="outside lower center", ncols=len(names), frameon=False)
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=150, metadata={"Date": None} if file.suffix == ".svg" else None)


def _draw_line(axes, name: str, line: Line, index: int) -> None:
    sizes = sorted(line)
    medians = [max(line[size].median, NEXT_TO_NOTHING) for size in sizes]
    below = [
        median - max(line[size].least, NEXT_TO_NOTHING) for size, median in zip(sizes, medians, strict=True)
    ]
    above = [max(line[size].most - median, 0.0) for size, median in zip(sizes, medians, strict=True)]
    axes.errorbar(
        sizes,
        medians,
        yerr=([max(one, 0.0) for one in below], above),
        label=name,
        color=COLOURS[index // 2 % len(COLOURS)],
        linestyle=("-", "--")[index % 2],
        marker="o",
        markersize=4,
        capsize=3,
    )


def _handles(figure: Figure) -> tuple[list[object], list[str]]:
    """What the legend shows: each name once, though it is in every panel."""
    found = {}
    for axes in figure.axes:
        for handle, name in zip(*axes.get_legend_handles_labels(), strict=True):
            found.setdefault(name, handle)
    return list(found.values()), list(found)
