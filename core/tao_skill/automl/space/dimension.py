"""A searched parameter: its range or choices, and the mapping of a sampler's draw to its value."""

from __future__ import annotations

import math
import re
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Final, Literal, Protocol

Kind = Literal["float", "int", "choice"]

OFF_SHARE: Final = 0.1
"""Share of draws that means `off`, where a parameter can be switched off."""

MARGIN: Final = 1e-3
"""Relative distance from an exclusive bound."""

DIGITS: Final = 4
"""Significant digits of a suggested number; finer differences are noise."""

TOLERANCE: Final = 1e-9
"""Accepted rounding error of multiples and powers."""

_CLAUSE: Final = re.compile(r"(?P<op><=|>=|<|>|multiple of|power of)\s*(?P<bound>[A-Za-z_][\w.]*|[-+.\de]+)")


class Suggests(Protocol):
    """The methods of optuna.trial.Trial that a dimension uses."""

    def suggest_float(self, name: str, low: float, high: float) -> float:
        """A number in the range."""
        ...

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        """One of the choices."""
        ...


@dataclass(frozen=True, kw_only=True)
class Clause:
    """A condition on a value: an operator with a number or with the key of another parameter."""

    op: str
    bound: float | str


@dataclass(frozen=True, kw_only=True)
class Dimension:
    """A searched parameter.

    A sampler draws unordered choices directly, and any other value as a share from 0 to 1 of the values that the
    conditions allow. So the sampler sees no bounds, and a condition narrows a range instead of rejecting draws.

    Attributes:
        low, high: inclusive and finite; unused where there are choices. log: whether the scale is logarithmic.
        step: values are multiples of it; None for any number, at least 1 for integers.
        choices: numbers are sorted. weights: relative frequency of each choice in random draws.
        off: value that switches the parameter off. rejected: invalid values inside the range.
        clauses: comparisons with other parameters that every value satisfies. parent: key it is set relative to.
        when: (key, value) pairs of other parameters without which this one has no effect.
    """

    key: str
    kind: Kind
    low: float = 0.0
    high: float = 0.0
    log: bool = False
    step: float | None = None
    choices: tuple[Any, ...] = ()
    weights: tuple[float, ...] = ()
    off: float | None = None
    rejected: tuple[Any, ...] = ()
    clauses: tuple[Clause, ...] = ()
    parent: str | None = None
    when: tuple[tuple[str, Any], ...] = ()

    @property
    def is_categorical(self) -> bool:
        """Whether a sampler draws the choices themselves."""
        return self.kind == "choice" and not self.weights

    def needs(self) -> set[str]:
        """Keys whose values must be known first."""
        bounds = {clause.bound for clause in self.clauses if isinstance(clause.bound, str)}
        return bounds | {key for key, _ in self.when} | ({self.parent} if self.parent else set())

    def suggest(self, trial: Suggests, values: Mapping[str, Any]) -> Any:
        """A value that satisfies every condition, or None. `values`: those of the keys in `needs`."""
        if self.is_categorical:
            return trial.suggest_categorical(self.key, self.choices)
        value = self._at(trial.suggest_float(self.key, 0.0, 1.0), values)
        return None if value in self.rejected else value

    def draw_of(self, value: Any, values: Mapping[str, Any]) -> Any:
        """The draw that gives a value: the inverse of `suggest`; None if no draw does."""
        if self.is_categorical:
            return value if value in self.choices else None
        if self.weights:
            return self._middle(self.choices.index(value)) if value in self.choices else None
        if self.off is not None and value == self.off:
            return OFF_SHARE / 2
        share = self._share(value, values)
        return share if share is None or self.off is None else OFF_SHARE + share * (1 - OFF_SHARE)

    def grid(self, steps: int) -> list[Any]:
        """Draws that cover the values evenly: all choices, or up to `steps` numbers."""
        if self.is_categorical:
            return list(self.choices)
        if self.weights:
            return [self._middle(index) for index in range(len(self.choices))]
        count = len(self.choices) or steps
        if self.step is not None and not self.choices:
            count = min(count, math.floor(self.high / self.step) - math.ceil(self.low / self.step) + 1)
        return [(i + 0.5) / count for i in range(count)]

    def _at(self, share: float, values: Mapping[str, Any]) -> Any:
        if self.weights:
            sums = list(accumulate(self.weights))
            return self.choices[min(bisect_right(sums, share * sums[-1]), len(sums) - 1)]
        if self.off is not None:
            if share < OFF_SHARE:
                low, high = self._allowed(values, -math.inf, math.inf)
                return self.off if low <= self.off <= high else None
            share = (share - OFF_SHARE) / (1 - OFF_SHARE)
        low, high = self._bounds(values)
        if self.choices:
            allowed = [value for value in self.choices if low <= value <= high]
            return allowed[min(int(share * len(allowed)), len(allowed) - 1)] if allowed else None
        return self._number(share, low, high) if low <= high else None

    def _share(self, value: Any, values: Mapping[str, Any]) -> float | None:
        """The share that gives a value: the inverse of `_at`; None if no share does."""
        low, high = self._bounds(values)
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            return None
        if self.choices:
            allowed = [choice for choice in self.choices if low <= choice <= high]
            return (allowed.index(value) + 0.5) / len(allowed) if value in allowed else None
        start, end = self._ends(low, high)
        position = self._scaled(value / (self.step or 1))
        return (position - start) / (end - start) if end > start else 0.5

    def _middle(self, index: int) -> float:
        """The middle of the shares that mean a weighted choice."""
        return (sum(self.weights[:index]) + self.weights[index] / 2) / sum(self.weights)

    def _bounds(self, values: Mapping[str, Any]) -> tuple[float, float]:
        if self.choices:
            return self._allowed(values, -math.inf, math.inf)
        low, high = self._allowed(values, self.low, self.high)
        return (low, high) if self.step is None else whole_steps(low, high, self.step)

    def _allowed(self, values: Mapping[str, Any], low: float, high: float) -> tuple[float, float]:
        """The part of a range that the clauses allow."""
        for clause in self.clauses:
            bound = values[clause.bound] if isinstance(clause.bound, str) else clause.bound
            if bound is not None:
                low, high = narrow(low, high, clause.op, bound, step=self.step)
        return low, high

    def _number(self, share: float, low: float, high: float) -> float | int:
        start, end = self._ends(low, high)
        position = start + share * (end - start)
        value = math.exp(position) if self.log else position
        if self.step is None:
            return min(max(float(f"{value:.{DIGITS}g}"), low), high)
        stepped = min(max(round(value) * self.step, low), high)
        return round(stepped) if self.kind == "int" else float(f"{stepped:.12g}")

    def _ends(self, low: float, high: float) -> tuple[float, float]:
        """Positions of share 0 and 1: half a step outside, so that the outermost values are as likely as others."""
        if self.step is None:
            return self._scaled(low), self._scaled(high)
        return self._scaled(low / self.step - 0.5), self._scaled(high / self.step + 0.5)

    def _scaled(self, value: float) -> float:
        return math.log(value) if self.log else value


def parse_condition(text: str | None) -> tuple[Clause, ...]:
    """Clauses of a condition such as `> 0`, `< train.optim.lr`, `multiple of 8`, `power of 2`, joined by `and`.

    Raises:
        ValueError: a clause has another form.
    """
    return tuple(_clause(part.strip()) for part in (text or "").split(" and ") if part.strip())


def _clause(text: str) -> Clause:
    match = _CLAUSE.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not a condition")
    bound = match["bound"]
    if not (bound[0].isalpha() or bound[0] == "_"):
        return Clause(op=match["op"], bound=float(bound))
    if " of" in match["op"]:
        raise ValueError(f"{text!r}: the bound of multiples and powers must be a number")
    return Clause(op=match["op"], bound=bound)


def narrow(low: float, high: float, op: str, bound: float, *, step: float | None = None) -> tuple[float, float]:
    """The part of a range that a comparison allows; an exclusive bound is kept at a small distance."""
    gap = MARGIN * (step or abs(bound) or min(1.0, abs(high - low)))
    if op == "<":
        return low, high if high < bound else bound - gap
    if op == ">":
        return low if low > bound else bound + gap, high
    return (low, min(high, bound)) if op == "<=" else (max(low, bound), high)


def whole_steps(low: float, high: float, step: float) -> tuple[float, float]:
    """The smallest and the largest multiple of a step in a range."""
    return math.ceil(low / step - TOLERANCE) * step, math.floor(high / step + TOLERANCE) * step


def powers(k: float, low: float, high: float) -> list[int]:
    """Powers of k from low to high, 1 included."""
    last = math.floor(math.log(max(high, 1), k) + TOLERANCE)
    return [round(k**i) for i in range(last + 1) if low <= round(k**i) <= high]
