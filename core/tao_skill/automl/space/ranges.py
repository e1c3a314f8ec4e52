"""The range or the choices of a searched parameter, from its schema, the request, and the limits set by the data."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from tao_skill.automl.space.dimension import Clause, Dimension, Kind, narrow, parse_condition, powers, whole_steps
from tao_skill.automl.space.request import ParameterRequest, parse_option
from tao_skill.outcome import Limit

Leaves = Mapping[str, Mapping[str, Any]]
"""Schema of each parameter, by dotted key."""

_SCHEMA_BOUNDS: Final = {"minimum": ">=", "exclusiveMinimum": ">", "maximum": "<=", "exclusiveMaximum": "<"}
_COMPARISONS: Final = frozenset(_SCHEMA_BOUNDS.values())
_KINDS: Final[Mapping[str, Kind]] = {"number": "float", "integer": "int", "string": "choice", "boolean": "choice"}


class EmptyRange(Exception):
    """A parameter has fewer than two values to choose from; the message says why."""


def make_dimension(key: str, leaves: Leaves, request: ParameterRequest, limit: Limit) -> Dimension:
    """The dimension of a parameter.

    Raises:
        EmptyRange: it has fewer than two values.
        BadRequest: the schema does not accept a requested choice.
    """
    leaf = leaves[key]
    clauses = parse_condition(leaf["x-automl"].get("condition"))
    plain = Dimension(
        key=key,
        kind=_kind(leaf),
        rejected=tuple(leaf.get("not", {}).get("enum", ())),
        clauses=tuple(clause for clause in clauses if isinstance(clause.bound, str)),
        parent=leaf["x-automl"].get("parent"),
        when=conditions(key, leaves),
    )
    if plain.kind == "choice" or request.choices or "enum" in leaf:
        return _with_choices(plain, leaf, request, limit, clauses)
    return _with_range(plain, leaf, request, limit, clauses)


def conditions(key: str, leaves: Leaves) -> tuple[tuple[str, Any], ...]:
    """(key, value) pairs without which a parameter has no effect: its own, and those of the parameters they name."""
    pairs: list[tuple[str, Any]] = []
    while (hint := leaves[key]["x-automl"].get("depends_on")) and (hint["key"], hint["value"]) not in pairs:
        key = hint["key"]
        pairs.append((key, hint["value"]))
    return tuple(pairs)


def _kind(leaf: Mapping[str, Any]) -> Kind:
    return _KINDS[leaf["type"] if isinstance(leaf["type"], str) else leaf["type"][0]]


def _with_choices(
    plain: Dimension, leaf: Mapping[str, Any], request: ParameterRequest, limit: Limit, clauses: Sequence[Clause]
) -> Dimension:
    if request.low is not None:
        raise EmptyRange("has options, not a range")
    defaults, weights = _default_choices(leaf)
    options = [parse_option(plain.key, leaf, text) for text in request.choices] or defaults
    if plain.kind == "choice":
        choices = [option for option in dict.fromkeys(options) if option not in plain.rejected]
    else:
        choices = sorted({option for option in options if _is_allowed(option, plain, leaf, limit, clauses)})
    if len(choices) < 2:
        raise EmptyRange("has fewer than two options that schema, conditions and data allow")
    is_weighted = weights and plain.kind == "choice" and not request.choices
    return replace(
        plain,
        choices=tuple(choices),
        weights=tuple(weights[choice] for choice in choices) if is_weighted else (),
    )


def _default_choices(leaf: Mapping[str, Any]) -> tuple[list[Any], dict[Any, float]]:
    """Choices of the schema with a positive weight, and their weights unless all are equal."""
    enum = [False, True] if "boolean" in leaf["type"] else [item for item in leaf.get("enum", []) if item is not None]
    weights = leaf["x-automl"].get("option_weights") or [1.0] * len(enum)
    positive = {option: weight for option, weight in zip(enum, weights, strict=True) if weight > 0}
    return list(positive), positive if len(set(positive.values())) > 1 else {}


def _is_allowed(
    value: float, plain: Dimension, leaf: Mapping[str, Any], limit: Limit, clauses: Sequence[Clause]
) -> bool:
    low, high = _narrowed(-math.inf, math.inf, plain, leaf, limit, clauses)
    multiple, base = _steps(clauses)
    is_multiple = multiple is None or len(set(whole_steps(value, value, multiple))) == 1
    is_power = base is None or value in powers(base, value, value)
    return low <= value <= high and value not in plain.rejected and is_multiple and is_power


def _with_range(
    plain: Dimension, leaf: Mapping[str, Any], request: ParameterRequest, limit: Limit, clauses: Sequence[Clause]
) -> Dimension:
    """The range of the request, the data or the schema, within the bounds of schema, data and conditions."""
    hints = leaf["x-automl"]
    multiple, base = _steps(clauses)
    step = multiple if multiple is not None else 1.0 if plain.kind == "int" else None
    plain = replace(plain, step=step)
    suggested = (limit.low, limit.high) if limit.low is not None else (hints.get("low"), hints.get("high"))
    low, high = suggested if request.low is None else (request.low, request.high)
    low, high = -math.inf if low is None else low, math.inf if high is None else high
    low, high = _narrowed(low, high, plain, leaf, limit, clauses)
    if not (math.isfinite(low) and math.isfinite(high)):
        raise EmptyRange(f"has no finite range; search it as {plain.key}=low:high")
    if step is not None:
        low, high = whole_steps(low, high, step)
    if low >= high:
        raise EmptyRange(f"has fewer than two values from {low:g} to {high:g}")
    if base is not None:
        choices = [value for value in powers(base, low, high) if _is_allowed(value, plain, leaf, limit, clauses)]
        if len(choices) < 2:
            raise EmptyRange(f"has fewer than two values that satisfy {hints['condition']!r}")
        return replace(plain, choices=tuple(choices))
    log = (hints.get("log", False) if request.log is None else request.log) and low > 0
    off = hints.get("off") if request.low is None or request.low == hints.get("off") else None
    return replace(plain, low=low, high=high, log=log, off=off)


def _narrowed(
    low: float, high: float, plain: Dimension, leaf: Mapping[str, Any], limit: Limit, clauses: Sequence[Clause]
) -> tuple[float, float]:
    """A range within the bounds of schema and data, and of the conditions with a number."""
    bounds: list[tuple[str, Any]] = [(op, leaf.get(name)) for name, op in _SCHEMA_BOUNDS.items()]
    bounds += [("<=", limit.high)] + [(clause.op, clause.bound) for clause in clauses if clause.op in _COMPARISONS]
    for op, bound in bounds:
        if isinstance(bound, int | float):
            low, high = narrow(low, high, op, bound, step=plain.step)
    return low, high


def _steps(clauses: Sequence[Clause]) -> tuple[float | None, float | None]:
    """The number that values must be a multiple of, and the base that they must be a power of."""
    bounds = {clause.op: clause.bound for clause in clauses if clause.op not in _COMPARISONS}
    multiple, base = bounds.get("multiple of"), bounds.get("power of")
    return (None if multiple is None else float(multiple)), (None if base is None else float(base))
