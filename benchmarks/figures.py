"""Measured points as a data file, and what is made of it: an SVG file and a table on a page."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from plot import Dot, Plot, draw
from tao_skill.io.atomic import write_json, write_text

THOUSAND: Final = 1000.0

DRAWN: Final = ("series", "x", "name", "y", "low", "high")

Point = dict[str, Any]
"""`series`, `x`, a median `y` with `low` and `high`, for some a `name` of x, and other figures by their own names."""


@dataclass(frozen=True, kw_only=True)
class Figure:
    """What is drawn of points: its title, and the labels of its axes, with units."""

    title: str
    x: str
    y: str
    steps: bool = False
    proportional: bool = False


def point(series: str, x: float, values: Sequence[float], **others: Any) -> Point:
    """One of several measurements."""
    spread = {"y": statistics.median(values), "low": min(values), "high": max(values)}
    return {"series": series, "x": x} | spread | others


def keep(path: Path, measured: str, found: Mapping[str, Any]) -> None:
    """Write a data file, with a sentence on how it was measured; numbers in five significant digits."""
    write_json(path, {"measured": measured, **_short(found)})


def _short(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _short(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_short(one) for one in value]
    return float(f"{value:.5g}") if isinstance(value, float) else value


def shown(value: Any) -> str:
    """A number for a table, in about three significant digits; words as they are."""
    if not isinstance(value, int | float):
        return str(value)
    return f"{value:,.0f}" if abs(value) >= THOUSAND else f"{value:.3g}"


def table(rows: Sequence[Sequence[Any]]) -> str:
    """Markdown of a header and its rows."""
    header, *others = [[shown(cell) for cell in row] for row in rows]
    return "\n".join(f"| {' | '.join(row)} |" for row in (header, ["---"] * len(header), *others))


def points_table(figure: Figure, points: Sequence[Point]) -> list[list[Any]]:
    """A row for each x; what is the same for all series has one column."""
    names = list(dict.fromkeys(one["series"] for one in points))
    rows: dict[tuple[float, str], dict[str, Point]] = {}
    for one in points:
        rows.setdefault((one["x"], one.get("name", "")), {})[one["series"]] = one
    columns = [("y", name, f"{figure.y}, {name}") for name in names]
    for key in [name for name in points[0] if name not in DRAWN]:
        is_shared = all(len({one[key] for one in row.values()}) == 1 for row in rows.values())
        columns += [(key, names[0], key)] if is_shared else [(key, name, f"{key}, {name}") for name in names]
    header = [figure.x, *(words for _, _, words in columns)]
    lines = [
        [f"{x:g} ({name})" if name else f"{x:g}", *(row[series][key] for key, series, _ in columns)]
        for (x, name), row in rows.items()
    ]
    return [header, *lines]


def publish(name: str, figure: Figure, folder: Path) -> str:
    """Draw `NAME.svg` from `NAME.json` in a folder; gives back what the page says of it."""
    data = json.loads((folder / f"{name}.json").read_text("utf-8"))
    lines: dict[str, list[Dot]] = {}
    for one in data["points"]:
        dot = Dot(**{axis: one[axis] for axis in ("x", "y", "low", "high")})
        lines.setdefault(one["series"], []).append(dot)
    kinds = {"steps": figure.steps, "proportional": figure.proportional}
    plot = Plot(title=figure.title, x_label=figure.x, y_label=figure.y, lines=lines, **kinds)
    write_text(folder / f"{name}.svg", draw(plot))
    image = f"![{figure.title}]({folder.name}/{name}.svg)"
    return f"{image}\n\n{table(points_table(figure, data['points']))}\n\n{data['measured']}"


def fill(page: Path, blocks: Mapping[str, str]) -> None:
    """Put each block between the two comments that name it on a page."""
    text = page.read_text("utf-8")
    for name, block in blocks.items():
        begin, end = f"<!-- {name} -->", f"<!-- /{name} -->"
        head, begun, rest = text.partition(begin)
        _, ended, tail = rest.partition(end)
        if not (begun and ended):
            raise SystemExit(f"{page} has no place for {name}: {begin} ... {end}")
        text = f"{head}{begin}\n{block}\n{end}{tail}"
    write_text(page, text)
