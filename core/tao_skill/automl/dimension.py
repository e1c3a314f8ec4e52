"""One parameter of a search: its range or options, and how a sampler's number becomes its value."""

from __future__ import annotations

import math
import re
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Final, Literal, Protocol

Kind = Literal["float", "int", "choice"]

OFF_SHARE: Final = 0.1
"""Part of a range that stands for `off` where a parameter can be switched off."""

MARGIN: Final = 1e-3
"""Relative distance kept from a bound that must not be reached."""

DIGITS: Final = 4
"""Significant digits of a suggested number: finer differences are noise."""

_CLAUSE: Final = re.compile(r"(?P<op><=|>=|<|>|multiple of|power of)\s*(?P<bound>[A-Za-z_][\w.]*|[-+.\de]+)")


class Suggests(Protocol):
    """What a dimension needs of optuna.trial.Trial."""

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = ...) -> float:
        """A number of the range."""
        ...

    def suggest_int(self, name: str, low: int, high: int, *, log: bool = ...) -> int:
        """An integer of the range, both ends included."""
        ...

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        """One of the choices."""
        ...


@dataclass(frozen=True, kw_only=True)
class Clause:
    """One condition on a value: an operator and a number, or the key of another parameter."""

    op: str
    bound: float | str


@dataclass(frozen=True, kw_only=True)
class Dimension:
    """A searched parameter.

    Attributes:
        low, high: inclusive and finite; of no meaning where there are choices. log: sampled in the logarithm.
        choices: options, or all values that keep a multiple or a power. weights: how often each is drawn at random.
        off: value that switches the parameter off; it stands for the lowest part of the range.
        clauses: comparisons with other parameters that every value keeps.
        when: (key, value) of a searched parameter without which this one has no effect.
    """

    key: str
    kind: Kind
    low: float = 0.0
    high: float = 0.0
    log: bool = False
    choices: tuple[Any, ...] = ()
    weights: tuple[float, ...] = ()
    off: float | None = None
    clauses: tuple[Clause, ...] = ()
    when: tuple[str, Any] | None = None

    def needs(self) -> set[str]:
        """Keys whose values must be known before this one's."""
        named = {clause.bound for clause in self.clauses if isinstance(clause.bound, str)}
        return named | ({self.when[0]} if self.when else set())

    def suggest(self, trial: Suggests, values: Mapping[str, Any]) -> Any:
        """A value that keeps every condition; `values` holds those of the keys it needs."""
        if self.choices:
            return self._option(trial)
        raw: float
        if self.kind == "int":
            raw = trial.suggest_int(self.key, int(self.low), int(self.high), log=self.log)
        else:
            raw = trial.suggest_float(self.key, self.low, self.high, log=self.log)
        if self.off is not None and raw < self.low + OFF_SHARE * (self.high - self.low):
            return self.off
        low, high = self._bounds(values)
        return self._rounded(self._moved(raw, low, high), low, high)

    def grid(self, steps: int) -> list[Any]:
        """What a sampler may draw to cover the range evenly in `steps` steps, or every option."""
        if self.choices and self.weights:
            return [end - share / 2 for end, share in zip(accumulate(self.weights), self.weights, strict=True)]
        if self.choices:
            return list(range(len(self.choices))) if self._is_ordinal else list(self.choices)
        ends = (math.log(self.low), math.log(self.high)) if self.log else (self.low, self.high)
        points = [ends[0] + (ends[1] - ends[0]) * (i + 0.5) / steps for i in range(steps)]
        values = [math.exp(point) for point in points] if self.log else points
        return sorted({round(value) for value in values}) if self.kind == "int" else values

    @property
    def _is_ordinal(self) -> bool:
        return self.kind == "int"

    def _option(self, trial: Suggests) -> Any:
        if self._is_ordinal:
            return self.choices[trial.suggest_int(self.key, 0, len(self.choices) - 1)]
        if not self.weights:
            return trial.suggest_categorical(self.key, self.choices)
        sums = list(accumulate(self.weights))
        drawn = trial.suggest_float(self.key, 0.0, sums[-1])
        return self.choices[min(bisect_right(sums, drawn), len(self.choices) - 1)]

    def _bounds(self, values: Mapping[str, Any]) -> tuple[float, float]:
        low, high = self.low, self.high
        for clause in self.clauses:
            low, high = COMPARE[clause.op](low, high, float(values[str(clause.bound)]))
        return low, high

    def _moved(self, raw: float, low: float, high: float) -> float:
        """The value as far between the narrowed bounds as `raw` is between the whole range's."""
        if (low, high) == (self.low, self.high) or self.low == self.high:
            return raw
        if self.log:
            share = math.log(raw / self.low) / math.log(self.high / self.low)
            return float(low * (high / low) ** share)
        return low + (high - low) * (raw - self.low) / (self.high - self.low)

    def _rounded(self, value: float, low: float, high: float) -> float | int:
        if self.kind == "int":
            return min(max(round(value), math.ceil(low)), math.floor(high))
        return min(max(float(f"{value:.{DIGITS}g}"), low), high)


def parse_condition(text: str | None) -> tuple[Clause, ...]:
    """Clauses of a condition such as `> 0`, `< train.optim.lr`, `multiple of 8`, `power of 2`, joined by `and`.

    Raises:
        ValueError: a clause is none of these.
    """
    clauses = []
    for part in (text or "").split(" and "):
        match = _CLAUSE.fullmatch(part.strip())
        if match is None and part.strip():
            raise ValueError(f"{part.strip()!r} is no condition")
        if match is not None:
            bound = match["bound"]
            clauses.append(Clause(op=match["op"], bound=bound if bound[0].isalpha() else float(bound)))
    return tuple(clauses)


def _below(low: float, high: float, bound: float) -> tuple[float, float]:
    return low, high if high < bound else bound - MARGIN * (abs(bound) or 1.0)


def _above(low: float, high: float, bound: float) -> tuple[float, float]:
    return low if low > bound else bound + MARGIN * (abs(bound) or 1.0), high


COMPARE: Final[Mapping[str, Callable[[float, float, float], tuple[float, float]]]] = {
    "<": _below,
    ">": _above,
    "<=": lambda low, high, bound: (low, min(high, bound)),
    ">=": lambda low, high, bound: (max(low, bound), high),
}
"""How a comparison narrows a range."""


def multiples(k: float, low: float, high: float) -> list[int]:
    """Multiples of k from low to high."""
    return [int(k * i) for i in range(math.ceil(low / k), math.floor(high / k) + 1)]


def powers(k: float, low: float, high: float) -> list[int]:
    """Powers of k from low to high."""
    first = max(0, math.ceil(math.log(max(low, 1), k) - 1e-9))
    return [int(k**i) for i in range(first, math.floor(math.log(max(high, 1), k) + 1e-9) + 1) if low <= k**i <= high]


LISTED: Final[Mapping[str, Callable[[float, float, float], list[int]]]] = {
    "multiple of": multiples,
    "power of": powers,
}
"""Values of a range that keep a clause which leaves only some of them."""
