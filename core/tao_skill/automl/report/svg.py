"""Charts as inline SVG: curves, bars and points; no script, colours from the page's style, a label on every mark."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any, Final

from tao_skill.automl.format import number

_LEFT: Final = 52
_RIGHT: Final = 12
_TOP: Final = 24
_BOTTOM: Final = 34
_FAR: Final = 3.0
"""Interquartile ranges beyond the quartiles at which a value is drawn at the edge, so that the others stay legible."""
_HUGE: Final = 1e100


@dataclass(frozen=True, kw_only=True)
class Series:
    """One curve: y of each step from 1, None for a gap; `style` is a class of the page's style sheet."""

    label: str
    y: Sequence[float | None]
    style: str = "other"


@dataclass(frozen=True, kw_only=True)
class Axis:
    """Maps values to pixels; values outside are drawn at its edge."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def at(self, value: float) -> float:
        """Position in pixels."""
        low, high, scaled = map(self._scaled, (self.low, self.high, value))
        share = (min(max(scaled, low), high) - low) / ((high - low) or 1.0)
        return round(self.start + (self.end - self.start) * share, 1)

    def ticks(self) -> list[float]:
        """A few round values in its range."""
        if self.log:
            first, last = math.ceil(math.log10(self.low)), math.floor(math.log10(self.high))
            skip = max(1, (last - first) // 4)
            return [10.0**power for power in range(first, last + 1, skip)] or [self.low, self.high]
        rough = (self.high - self.low) / 6 or 1.0
        unit = 10.0 ** math.floor(math.log10(rough))
        step = next(k * unit for k in (1, 2, 5, 10) if k * unit >= rough * 0.999)
        return [i * step for i in range(math.ceil(self.low / step), math.floor(self.high / step) + 1)]

    def _scaled(self, value: float) -> float:
        return math.log10(max(value, self.low)) if self.log else value


def curves(series: Sequence[Series], *, marks: Sequence[int], x_label: str, y_label: str, title: str) -> str:
    """Lines over steps, with dashed verticals at `marks`."""
    width, height = 720, 320
    longest = max([*(len(curve.y) for curve in series), *marks, 2])
    x = Axis(low=1, high=longest, start=_LEFT, end=width - _RIGHT)
    y = _fitted([value for curve in series for value in curve.y if value is not None], height - _BOTTOM, _TOP)
    body = [_frame(x, y, width, height, x_label, y_label, integer_ticks=True)]
    for mark in marks:
        at = x.at(mark)
        body.append(f'<line class="mark" x1="{at}" x2="{at}" y1="{_TOP}" y2="{height - _BOTTOM}"></line>')
    body += [_curve(curve, x, y) for curve in series]
    return _svg(width, height, title, body)


def points(pairs: Sequence[tuple[Any, float]], *, x_label: str, y_label: str, title: str, log: bool = False) -> str:
    """Dots of (value, score); values that are not numbers are drawn side by side as options."""
    width, height = 340, 220
    finite = [(value, score) for value, score in pairs if math.isfinite(score)]
    y = _fitted([score for _, score in finite], height - _BOTTOM, _TOP)
    is_numeric = all(_is_number(value) for value, _ in finite)
    options = [] if is_numeric else sorted({number(value) for value, _ in finite})
    at = [float(value) if is_numeric else float(options.index(number(value))) for value, _ in finite]
    x = _across(at, width, len(options), log=log and is_numeric)
    body = [_frame(x, y, width, height, x_label, y_label, names=options)]
    for (value, score), place in zip(finite, at, strict=True):
        label = escape(f"{number(value)}: {number(score)}")
        body.append(f'<circle cx="{x.at(place)}" cy="{y.at(score)}" r="3.5"><title>{label}</title></circle>')
    return _svg(width, height, title, body)


def bars(shares: Mapping[str, float], *, title: str) -> str:
    """Horizontal bars of shares from 0 to 1, with name and percentage."""
    width, row, names = 720, 24, 300
    body = []
    for i, (name, share) in enumerate(shares.items()):
        length = round(min(max(share, 0.0), 1.0) * (width - names - 60), 1)
        body.append(
            f'<text x="{names - 8}" y="{i * row + 16}" text-anchor="end">{escape(name)}</text>'
            f'<rect x="{names}" y="{i * row + 4}" width="{length}" height="{row - 8}"></rect>'
            f'<text x="{names + length + 6}" y="{i * row + 16}">{share:.0%}</text>'
        )
    return _svg(width, row * max(1, len(shares)), title, body)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _HUGE


def _across(at: Sequence[float], width: int, options: int, *, log: bool) -> Axis:
    if options:
        return Axis(low=-0.5, high=options - 0.5, start=_LEFT, end=width - _RIGHT)
    above = [value for value in at if value > 0]
    log = log and bool(above)
    low, high = (min(above), max(above)) if log else (min(at, default=0.0), max(at, default=1.0))
    if log and len(above) < len(at):  # zero switches a parameter off; it is drawn left of the smallest
        low /= 3
    if low == high:
        low, high = (low / 2, high * 2) if log else (low - (abs(low) or 1) / 2, high + (abs(high) or 1) / 2)
    return Axis(low=low, high=high, start=_LEFT + 6, end=width - _RIGHT - 6, log=log)


def _fitted(values: Sequence[float], start: float, end: float) -> Axis:
    """An axis that covers all values except outliers."""
    finite = sorted(min(max(value, -_HUGE), _HUGE) for value in values if math.isfinite(value)) or [0.0, 1.0]
    lower, upper = finite[len(finite) // 4], finite[(3 * len(finite)) // 4]
    reach = _FAR * (upper - lower)
    near = [value for value in finite if lower - reach <= value <= upper + reach]
    low, high = near[0], near[-1]
    if high - low <= 1e-9 * max(abs(low), abs(high)):
        low, high = low - (abs(low) or 1) / 10, high + (abs(high) or 1) / 10
    margin = (high - low) * 0.04
    return Axis(low=low - margin, high=high + margin, start=start, end=end)


def _frame(
    x: Axis,
    y: Axis,
    width: int,
    height: int,
    x_label: str,
    y_label: str,
    *,
    integer_ticks: bool = False,
    names: Sequence[str] = (),
) -> str:
    """Grid, tick labels and axis titles; `integer_ticks` omits ticks between integers; `names` label 0, 1, ..."""
    foot = height - _BOTTOM
    parts = []
    for tick in y.ticks():
        at = y.at(tick)
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{width - _RIGHT}" y1="{at}" y2="{at}"></line>')
        parts.append(f'<text x="{_LEFT - 6}" y="{at + 4}" text-anchor="end">{number(tick)}</text>')
    numbers = [(tick, number(tick)) for tick in x.ticks() if not integer_ticks or tick == int(tick)]
    for at, text in list(enumerate(names)) or numbers:
        parts.append(f'<text x="{x.at(at)}" y="{foot + 14}" text-anchor="middle">{escape(text)}</text>')
    parts.append(f'<line class="axis" x1="{_LEFT}" x2="{width - _RIGHT}" y1="{foot}" y2="{foot}"></line>')
    parts.append(f'<text x="{width - _RIGHT}" y="{height - 4}" text-anchor="end">{escape(x_label)}</text>')
    parts.append(f'<text x="2" y="12">{escape(y_label)}</text>')
    return "".join(parts)


def _curve(series: Series, x: Axis, y: Axis) -> str:
    style, label = escape(series.style), f"<title>{escape(series.label)}</title>"
    shapes = []
    for run in _runs(series.y):
        placed = " ".join(f"{x.at(step)},{y.at(value)}" for step, value in run)
        if len(run) == 1:
            at = placed.split(",")
            shapes.append(f'<circle cx="{at[0]}" cy="{at[1]}" r="2.5"></circle>')
        else:
            shapes.append(f'<polyline points="{placed}"></polyline>')
    return f'<g class="curve {style}">{label}{"".join(shapes)}</g>'


def _runs(values: Sequence[float | None]) -> list[list[tuple[int, float]]]:
    """Steps and values, split at gaps."""
    runs: list[list[tuple[int, float]]] = [[]]
    for step, value in enumerate(values, start=1):
        if value is not None and math.isfinite(value):
            runs[-1].append((step, value))
        elif runs[-1]:
            runs.append([])
    return [run for run in runs if run]


def _svg(width: int, height: int, title: str, body: Sequence[str]) -> str:
    name = escape(title)
    return (
        f'<svg viewBox="0 0 {width} {height}" style="max-width:{width}px" role="img" aria-label="{name}">'
        f"<title>{name}</title>{''.join(body)}</svg>"
    )
