"""The bench's picture: what waiting costs against how many wait, on logarithmic axes."""

import math
from collections.abc import Mapping
from pathlib import Path

import matplotlib as mpl
from bench_report import Spread
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullFormatter

Name = tuple[str, str]
"""Who is shown, which the colour tells, and under which conditions, which the dashes tell."""
Line = Mapping[int, Spread]
"""How many wait → what was measured."""
Panels = Mapping[str, Mapping[Name, Line]]
"""The title of a panel → its lines."""

COLOURS = ("#1f6feb", "#d1242f", "#1a7f37", "#8250df")
DASHES = ("-", "--", ":", "-.")
NEXT_TO_NOTHING = 1e-3
"""Stands for zero, which a logarithmic axis has no place for."""


def draw(panels: Panels, file: Path) -> None:
    """Write the panels, two in a row; the file's name says whether as SVG or PNG."""
    mpl.rcParams["svg.hashsalt"] = "bench"  # the same figures make the same file
    rows = math.ceil(len(panels) / 2)
    figure = Figure(figsize=(10, 3.6 * rows), layout="constrained")
    grid = figure.subplots(rows, 2, squeeze=False).flat
    names = list(dict.fromkeys(name for lines in panels.values() for name in lines))
    known = [list(dict.fromkeys(parts)) for parts in zip(*names, strict=True)]
    handles = {}
    for axes, (title, lines) in zip(grid, panels.items(), strict=False):
        _prepare(axes, title, lines)
        for name, line in lines.items():
            colour, dashes = (places.index(part) for places, part in zip(known, name, strict=True))
            handles[", ".join(filter(None, name))] = _draw(
                axes, line, color=COLOURS[colour], linestyle=DASHES[dashes]
            )
    figure.legend(
        handles.values(), handles.keys(), loc="outside lower center", ncols=len(handles), frameon=False
    )
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=150, metadata={"Date": None} if file.suffix == ".svg" else None)


def _prepare(axes: Axes, title: str, lines: Mapping[Name, Line]) -> None:
    """Whole decades upwards, and a tick for each number of runs."""
    sizes = sorted({size for line in lines.values() for size in line})
    values = [_shown(value) for line in lines.values() for spread in line.values() for value in spread.values]
    axes.set(title=title, xscale="log", yscale="log", xlabel="runs that are waited for")
    axes.set_xlim(sizes[0] / 1.5, sizes[-1] * 1.5)
    bottom, top = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    axes.set_ylim(10.0**bottom, 10.0 ** max(top, bottom + 1))
    axes.xaxis.set_major_locator(FixedLocator(sizes))
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0,) if top - bottom > 2 else (1.0, 2.0, 5.0)))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
        axis.set_minor_formatter(NullFormatter())
    axes.grid(which="major", alpha=0.3)


def _draw(axes: Axes, line: Line, **style: str) -> object:
    """The medians, with bars from the least to the most; returns what the legend shows of it."""
    sizes = sorted(line)
    medians, least, most = (
        [_shown(value) for value in values]
        for values in zip(*((line[n].median, line[n].least, line[n].most) for n in sizes), strict=True)
    )
    below = [median - value for median, value in zip(medians, least, strict=True)]
    above = [value - median for median, value in zip(medians, most, strict=True)]
    return axes.errorbar(sizes, medians, yerr=(below, above), marker="o", markersize=4, capsize=3, **style)


def _shown(value: float) -> float:
    return max(value, NEXT_TO_NOTHING)
