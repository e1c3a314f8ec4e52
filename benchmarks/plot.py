"""Lines with error bars as an SVG file. The same data and version of matplotlib give the same bytes.

The colours are of medium brightness and the background is transparent, for light and dark pages.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, LogLocator, NullLocator, StrMethodFormatter

COLOURS: Final = ("#3b82f6", "#e07b24", "#2f9e5b")
GREY: Final = "#7d7d7d"
MARGIN: Final = 1.15
"""Factor by which an axis extends beyond the smallest and the largest value."""

MIN_TICK_RATIO: Final = 1.1
"""Labels of x values closer than this factor would overlap on a logarithmic axis."""

STYLE: Final = {
    "svg.fonttype": "none",
    "svg.hashsalt": "tao-skill",
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    **dict.fromkeys(("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"), GREY),
}
METADATA: Final = {"Date": None, "Creator": None, "Format": None, "Type": None}


@dataclass(frozen=True, kw_only=True)
class Dot:
    """A median with the lowest and highest measurement; x and y are positive."""

    x: float
    y: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Plot:
    """Lines by name, and the labels of the axes with units."""

    title: str
    x_label: str
    y_label: str
    lines: Mapping[str, Sequence[Dot]]
    steps: bool = False
    """x is a count from 0: both axes are linear, and y starts at 0."""
    proportional: bool = False
    """A dashed line from the first dot of each line is proportional to x."""


def draw(plot: Plot) -> str:
    """The text of an SVG file."""
    text = io.StringIO()
    with mpl.rc_context(STYLE):
        figure(plot).savefig(text, format="svg", transparent=True, metadata={"Title": plot.title, **METADATA})
    return "\n".join(line.rstrip() for line in text.getvalue().splitlines()) + "\n"


def figure(plot: Plot) -> Figure:
    """The same as a matplotlib figure."""
    drawn = Figure(figsize=(6.4, 3.4), layout="constrained")
    axes = drawn.add_subplot()
    for colour, (name, dots) in zip(COLOURS, plot.lines.items(), strict=False):
        _add_line(axes, name, sorted(dots, key=lambda dot: dot.x), colour, proportional=plot.proportional)
    (_linear if plot.steps else _logarithmic)(axes, [dot.x for dots in plot.lines.values() for dot in dots])
    axes.set(xlabel=plot.x_label, ylabel=plot.y_label)
    axes.grid(axis="y", color=GREY, alpha=0.3)
    axes.legend(frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=len(plot.lines))
    return drawn


def _add_line(axes: Axes, name: str, dots: Sequence[Dot], colour: str, *, proportional: bool) -> None:
    xs, ys = [dot.x for dot in dots], [dot.y for dot in dots]
    spread = [[dot.y - dot.low for dot in dots], [dot.high - dot.y for dot in dots]]
    axes.errorbar(xs, ys, yerr=spread, color=colour, marker="o", markersize=5, linewidth=1.8, elinewidth=1, label=name)
    if proportional:
        guide = [ys[0], ys[0] * xs[-1] / xs[0]]
        axes.plot([xs[0], xs[-1]], guide, color=GREY, linewidth=1, linestyle=(0, (3, 4)))


def _linear(axes: Axes, xs: Sequence[float]) -> None:
    axes.xaxis.set_major_locator(FixedLocator(sorted(set(xs))))
    axes.set_xlim(min(xs) - 0.5, max(xs) + 0.5)
    axes.set_ylim(0, axes.dataLim.y1 * MARGIN)


def _logarithmic(axes: Axes, xs: Sequence[float]) -> None:
    """Logarithmic axes: ticks at the measured x, and at 1, 2 and 5 times the powers of ten of y."""
    low, high = axes.dataLim.y0, axes.dataLim.y1
    axes.set(xscale="log", yscale="log")
    axes.set_xlim(min(xs) / MARGIN, max(xs) * MARGIN)
    axes.set_ylim(low / MARGIN, high * MARGIN)
    axes.xaxis.set_major_locator(FixedLocator(_apart(sorted(set(xs)))))
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_minor_locator(NullLocator())
        axis.set_major_formatter(StrMethodFormatter("{x:g}"))


def _apart(values: Sequence[float]) -> list[float]:
    """Values whose tick labels do not overlap."""
    kept: list[float] = []
    for value in values:
        if not kept or value / kept[-1] >= MIN_TICK_RATIO:
            kept.append(value)
    return kept
