"""Pairs of figures that were measured in turn, as rows of one table."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

HEADER: Final = "| what | beside | its | ours | ours / its | asked, at most |\n|---|---|---|---|---|---|"
UNITS: Final = {"s": (1.0, 3), "ms": (1000.0, 1), "MiB": (1.0, 0)}
"""How many of a unit are one of those measured (seconds, MiB), and the digits that are shown."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """What ours costs beside something else; less is better.

    Attributes:
        beside: what it is compared with. its, ours: medians, in seconds or MiB. unit: they are shown in.
        ratio: of ours to its, the median over the pairs. most: the ratio that was asked for; most_s: the seconds.
    """

    what: str
    beside: str
    its: float
    ours: float
    ratio: float
    unit: str = "s"
    most: float | None = None
    most_s: float | None = None

    def __str__(self) -> str:
        """A line of Markdown."""
        factor, digits = UNITS[self.unit]
        its, ours = (f"{factor * one:.{digits}f} {self.unit}" for one in (self.its, self.ours))
        limits = ((self.most, self.ratio, ""), (self.most_s, self.ours, " s"))
        asked = [
            f"{most:.3g}{unit}" + ("" if found <= most else ", **not held**")
            for most, found, unit in limits
            if most is not None
        ]
        return f"| {self.what} | {self.beside} | {its} | {ours} | {self.ratio:.3f} | {' '.join(asked)} |"


def row(
    what: str,
    beside: str,
    pairs: Sequence[tuple[float, float]],
    *,
    unit: str = "s",
    most: float | None = None,
    most_s: float | None = None,
) -> Row:
    """The medians of (its, ours) pairs."""
    its, ours = (statistics.median(one) for one in zip(*pairs, strict=True))
    ratio = statistics.median(mine / other for other, mine in pairs)
    return Row(what=what, beside=beside, its=its, ours=ours, ratio=ratio, unit=unit, most=most, most_s=most_s)
