"""One parameter of a search: its range or options, and how a sampler's draw becomes its value."""

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
"""Part of the draws that stands for `off` where a parameter can be switched off."""

MARGIN: Final = 1e-3
"""Relative distance kept from a bound that must not be reached."""

DIGITS: Final = 4
"""Significant digits of a suggested number: finer differences are noise."""

TOLERANCE: Final = 1e-9
"""Rounding error forgiven when multiples and powers are counted."""

_CLAUSE: Final = re.compile(r"(?P<op><=|>=|<|>|multiple of|power of)\s*(?P<bound>[A-Za-z_][\w.]*|[-+.\de]+)")


class Suggests(Protocol):
    """What a dimension needs of optuna.trial.Trial."""

    def suggest_float(self, name: str, low: float, high: float) -> float:
        """A number of the range."""
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

    A sampler draws options without an order as they are and everything else as a share from 0 to 1, which is then laid
    over the values that the conditions leave: so no bound of a schema reaches it, and a relation narrows a range
    instead of cutting it off.

    Attributes:
        low, high: inclusive and finite; of no meaning where there are choices. log: evenly over the logarithm.
        step: values are its multiples; None for any number. An integer's is at least 1.
        choices: options; numbers among them in order. weights: how often each is drawn at random.
        off: value that switches the parameter off. rejected: values inside the range that mean nothing.
        clauses: comparisons with other parameters that every value keeps. parent: key it is set relative to.
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
        """Whether a sampler is shown the options themselves."""
        return self.kind == "choice" and not self.weights

    def needs(self) -> set[str]:
        """Keys whose values must be known before this one's."""
        named = {clause.bound for clause in self.clauses if isinstance(clause.bound, str)}
        return named | {key for key, _ in self.when} | ({self.parent} if self.parent else set())

    def suggest(self, trial: Suggests, values: Mapping[str, Any]) -> Any:
        """A value that keeps every condition; None where there is none. `values` holds those of the keys it needs."""
        if self.is_categorical:
            return trial.suggest_categorical(self.key, self.choices)
        value = self._at(trial.suggest_float(self.key, 0.0, 1.0), values)
        return None if value in self.rejected else value

    def drawn(self, value: Any, values: Mapping[str, Any]) -> Any:
        """What a sampler would have drawn for a value; None where it could not have."""
        if self.is_categorical:
            return value if value in self.choices else None
        if self.weights:
            return self._middle(self.choices.index(value)) if value in self.choices else None
        if self.off is not None and value == self.off:
            return OFF_SHARE / 2
        share = self._share(value, values)
        return share if share is None or self.off is None else OFF_SHARE + share * (1 - OFF_SHARE)

    def grid(self, steps: int) -> list[Any]:
        """Draws that cover the values evenly: every option, else up to `steps` numbers."""
        if self.is_categorical:
            return list(self.choices)
        if self.weights:
            return [self._middle(at) for at in range(len(self.choices))]
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
            left = [value for value in self.choices if low <= value <= high]
            return left[min(int(share * len(left)), len(left) - 1)] if left else None
        return self._number(share, low, high) if low <= high else None

    def _share(self, value: Any, values: Mapping[str, Any]) -> float | None:
        """The share that `_at` would turn into a value; None where none does."""
        low, high = self._bounds(values)
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            return None
        if self.choices:
            left = [option for option in self.choices if low <= option <= high]
            return (left.index(value) + 0.5) / len(left) if value in left else None
        start, end = self._ends(low, high)
        here = self._scaled(value / (self.step or 1))
        return (here - start) / (end - start) if end > start else 0.5

    def _middle(self, at: int) -> float:
        """The share in the middle of those that stand for a weighted option."""
        return (sum(self.weights[:at]) + self.weights[at] / 2) / sum(self.weights)

    def _bounds(self, values: Mapping[str, Any]) -> tuple[float, float]:
        if self.choices:
            return self._allowed(values, -math.inf, math.inf)
        low, high = self._allowed(values, self.low, self.high)
        return (low, high) if self.step is None else whole_steps(low, high, self.step)

    def _allowed(self, values: Mapping[str, Any], low: float, high: float) -> tuple[float, float]:
        """What the relations leave of a range."""
        for clause in self.clauses:
            bound = values[clause.bound] if isinstance(clause.bound, str) else clause.bound
            if bound is not None:
                low, high = narrow(low, high, clause.op, bound, step=self.step)
        return low, high

    def _number(self, share: float, low: float, high: float) -> float | int:
        start, end = self._ends(low, high)
        there = start + share * (end - start)
        value = math.exp(there) if self.log else there
        if self.step is None:
            return min(max(float(f"{value:.{DIGITS}g}"), low), high)
        stepped = min(max(round(value) * self.step, low), high)
        return round(stepped) if self.kind == "int" else float(f"{stepped:.12g}")

    def _ends(self, low: float, high: float) -> tuple[float, float]:
        """Where share 0 and 1 lie; half a step beyond the outermost values, so that these are as likely as others."""
        if self.step is None:
            return self._scaled(low), self._scaled(high)
        return self._scaled(low / self.step - 0.5), self._scaled(high / self.step + 0.5)

    def _scaled(self, value: float) -> float:
        return math.log(value) if self.log else value


def parse_condition(text: str | None) -> tuple[Clause, ...]:
    """Clauses of a condition such as `> 0`, `< train.optim.lr`, `multiple of 8`, `power of 2`, joined by `and`.

    Raises:
        ValueError: a clause is none of these.
    """
    return tuple(_clause(part.strip()) for part in (text or "").split(" and ") if part.strip())


def _clause(text: str) -> Clause:
    match = _CLAUSE.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is no condition")
    bound = match["bound"]
    if not (bound[0].isalpha() or bound[0] == "_"):
        return Clause(op=match["op"], bound=float(bound))
    if " of" in match["op"]:
        raise ValueError(f"{text!r}: multiples and powers are of a number")
    return Clause(op=match["op"], bound=bound)


def narrow(low: float, high: float, op: str, bound: float, *, step: float | None = None) -> tuple[float, float]:
    """A range without what a comparison forbids; a bound that must not be reached is left by a small gap."""
    gap = MARGIN * (step or abs(bound) or min(1.0, abs(high - low)))
    if op == "<":
        return low, high if high < bound else bound - gap
    if op == ">":
        return low if low > bound else bound + gap, high
    return (low, min(high, bound)) if op == "<=" else (max(low, bound), high)


def whole_steps(low: float, high: float, step: float) -> tuple[float, float]:
    """The outermost multiples of a step inside a range."""
    return math.ceil(low / step - TOLERANCE) * step, math.floor(high / step + TOLERANCE) * step


def powers(k: float, low: float, high: float) -> list[int]:
    """Powers of k, 1 included, from low to high."""
    last = math.floor(math.log(max(high, 1), k) + TOLERANCE)
    return [round(k**i) for i in range(last + 1) if low <= round(k**i) <= high]
