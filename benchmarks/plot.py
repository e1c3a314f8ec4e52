"""Lines over logarithmic axes as an SVG file, which is the same for the same data.

Colours are of middle brightness and nothing is behind them, so that a page may be white or dark.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from html import escape
from itertools import pairwise
from typing import Final

from tao_skill.automl.report.svg import Axis

WIDTH: Final = 640
HEIGHT: Final = 340
LEFT, RIGHT, TOP, BOTTOM = 64, 24, 48, 48
COLOURS: Final = ("#3b82f6", "#e07b24", "#2f9e5b")
GREY: Final = "#7d7d7d"
ROOM: Final = 1.15
"""How far beyond the first and the last value an axis goes, as a factor."""

APART: Final = 20
"""Pixels between two labels of ticks, at least."""


@dataclass(frozen=True, kw_only=True)
class Dot:
    """A median, with the lowest and the highest that was measured; both of x and y are above zero."""

    x: float
    y: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Plot:
    """Lines by name, and what is along its axes, with units."""

    title: str
    x_label: str
    y_label: str
    lines: Mapping[str, Sequence[Dot]]
    steps: bool = False
    """Whether x is a count from 0, which has no logarithm; then both axes are linear, and y is from 0."""
    proportional: bool = False
    """Whether a dashed line shows what is proportional to x, from each line's first dot."""


def draw(plot: Plot) -> str:
    """The text of an SVG file."""
    dots = [dot for line in plot.lines.values() for dot in line]
    across = _axis([dot.x for dot in dots], LEFT, WIDTH - RIGHT, log=not plot.steps, room=0.5)
    guides = [_guide(line) for line in plot.lines.values()] if plot.proportional else []
    ups = [one for dot in dots for one in (dot.low, dot.high)] + [dot.y for guide in guides for dot in guide]
    up = _axis(ups, HEIGHT - BOTTOM, TOP, log=not plot.steps)
    if plot.steps:
        up = Axis(low=0.0, high=up.high, start=up.start, end=up.end)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" '
        f'role="img" font-family="sans-serif" font-size="12" fill="{GREY}">',
        f"<title>{escape(plot.title)}</title>",
        *_frame(across, up, sorted({dot.x for dot in dots}), plot),
    ]
    for first, last in guides:
        ends = across.at(first.x), up.at(first.y), across.at(last.x), up.at(last.y)
        parts.append(_stroke(*ends, ' stroke-dasharray="3 4"'))
    for colour, (i, (name, line)) in zip(COLOURS, enumerate(plot.lines.items()), strict=False):
        parts += _line(line, across, up, colour)
        parts += _legend(i, name, colour)
    return "\n".join([*parts, "</svg>", ""])


def _axis(values: Sequence[float], start: float, end: float, *, log: bool, room: float = 0.0) -> Axis:
    low, high = min(values), max(values)
    if log:
        return Axis(low=low / ROOM, high=high * ROOM, start=start, end=end, log=True)
    return Axis(low=low - room, high=high + (room or high * (ROOM - 1)), start=start, end=end)


def _guide(line: Sequence[Dot]) -> tuple[Dot, Dot]:
    first, last = min(line, key=lambda dot: dot.x), max(line, key=lambda dot: dot.x)
    return first, replace(last, y=first.y * last.x / first.x)


def _frame(x: Axis, y: Axis, measured: Sequence[float], plot: Plot) -> Iterator[str]:
    """A grid with labels where x was measured, and at round values of y."""
    foot = HEIGHT - BOTTOM
    places = [x.at(value) for value in measured]
    wide = [True, *(after - before >= APART for before, after in pairwise(places))]
    for value, at, fits in zip(measured, places, wide, strict=True):
        yield _stroke(at, foot, at, foot + 4)
        if fits:
            yield f'<text x="{at}" y="{foot + 17}" text-anchor="middle">{value:g}</text>'
    for value in _round(y):
        at = y.at(value)
        yield _stroke(LEFT, at, WIDTH - RIGHT, at, ' stroke-opacity="0.3"')
        yield f'<text x="{LEFT - 6}" y="{at + 4}" text-anchor="end">{value:g}</text>'
    yield _stroke(LEFT, foot, WIDTH - RIGHT, foot)
    yield f'<text x="{WIDTH - RIGHT}" y="{HEIGHT - 10}" text-anchor="end">{escape(plot.x_label)}</text>'
    yield f'<text x="4" y="16">{escape(plot.y_label)}</text>'


def _round(y: Axis) -> list[float]:
    """1, 2 and 5 of every power of ten on a logarithmic axis, only 1 where that would be many."""
    if not y.log:
        return y.ticks()
    powers = range(math.floor(math.log10(y.low)), math.ceil(math.log10(y.high)) + 1)
    few = math.log10(y.high / y.low) > 2.5
    values = [float(f"{k}e{power}") for power in powers for k in ((1,) if few else (1, 2, 5))]
    return [value for value in values if y.low <= value <= y.high]


def _stroke(x1: float, y1: float, x2: float, y2: float, more: str = "") -> str:
    return f'<line x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}" stroke="{GREY}"{more}/>'


def _line(dots: Sequence[Dot], x: Axis, y: Axis, colour: str) -> Iterator[str]:
    """From dot to dot; an upright stroke from the lowest to the highest."""
    placed = sorted((x.at(dot.x), y.at(dot.y), y.at(dot.low), y.at(dot.high)) for dot in dots)
    path = " ".join(f"{across},{up}" for across, up, _, _ in placed)
    yield f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>'
    for across, up, low, high in placed:
        yield f'<line x1="{across}" y1="{low}" x2="{across}" y2="{high}" stroke="{colour}"/>'
        yield f'<circle cx="{across}" cy="{up}" r="3.5" fill="{colour}"/>'


def _legend(i: int, name: str, colour: str) -> Iterator[str]:
    at = LEFT + 150 * i
    yield f'<circle cx="{at}" cy="32" r="4" fill="{colour}"/>'
    yield f'<text x="{at + 10}" y="36">{escape(name)}</text>'
