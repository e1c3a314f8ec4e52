"""A search space as plans, reports and `automl space` describe it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from tao_skill.automl.space.dimension import Dimension, Kind


@dataclass(frozen=True, kw_only=True)
class DimensionSummary:
    """The values of one searched parameter: `choices`, or a range.

    Attributes:
        weights: relative frequency of each choice, where they differ. off: value that switches the parameter off.
        only_when: values of other parameters without which this one has no effect.
    """

    kind: Kind
    choices: tuple[Any, ...] = ()
    weights: tuple[float, ...] = ()
    low: float | None = None
    high: float | None = None
    log: bool | None = None
    multiple_of: float | None = None
    off: float | None = None
    only_when: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class SpaceSummary:
    """Searched parameters by key, and the reason why each of the others is not searched."""

    search: Mapping[str, DimensionSummary]
    left_out: Mapping[str, str]


def summarize(dimension: Dimension) -> DimensionSummary:
    """The summary of one dimension."""
    summary = DimensionSummary(kind=dimension.kind, off=dimension.off, only_when=dict(dimension.when))
    if dimension.choices:
        return replace(summary, choices=dimension.choices, weights=dimension.weights)
    step = None if dimension.step == 1 else dimension.step
    return replace(summary, low=dimension.low, high=dimension.high, log=dimension.log, multiple_of=step)
