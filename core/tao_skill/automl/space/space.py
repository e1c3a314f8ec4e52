"""The search space of a train, from its packaged schema, the user's spec and what the data can serve."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from tao_skill.automl.space.dimension import (
    Clause,
    Dimension,
    Kind,
    Suggests,
    narrow,
    parse_condition,
    powers,
    whole_steps,
)
from tao_skill.automl.space.request import ParameterRequest, parse_request, read_option
from tao_skill.errors import BadRequest
from tao_skill.outcome import Limit
from tao_skill.spec.schema import leaves as leaf_schemas
from tao_skill.spec.tree import lookup

Leaves = Mapping[str, Mapping[str, Any]]
"""Schema of each parameter, by dotted key."""

_SCHEMA_BOUNDS: Final = {"minimum": ">=", "exclusiveMinimum": ">", "maximum": "<=", "exclusiveMaximum": "<"}
_KINDS: Final[Mapping[str, Kind]] = {"number": "float", "integer": "int", "string": "choice", "boolean": "choice"}
_MIRRORED: Final = {"<": ">", ">": "<", "<=": ">=", ">=": "<="}


class EmptyRange(Exception):
    """A parameter has fewer than two values to choose from; the message says why."""


@dataclass(frozen=True, kw_only=True)
class Space:
    """Searched parameters, each after those it needs, and the reason why others are not searched."""

    dimensions: tuple[Dimension, ...]
    left_out: Mapping[str, str] = field(default_factory=dict)

    def suggest(self, trial: Suggests, spec: Mapping[str, Any]) -> dict[str, Any] | None:
        """Values by key that keep every condition, without those that would do nothing; None if a draw cannot."""
        values: dict[str, Any] = {}
        for one in self.dimensions:
            known = _known(one, values, spec)
            if not _acts(one, known):
                continue
            if (value := one.suggest(trial, known)) is None:
                return None
            values[one.key] = value
        return values

    def of_spec(self, spec: Mapping[str, Any]) -> dict[str, Any]:
        """The spec's own values of what is searched, without those that do nothing."""
        return {one.key: lookup(spec, one.key) for one in self.dimensions if _acts(one, _known(one, {}, spec))}

    def drawn(self, values: Mapping[str, Any], spec: Mapping[str, Any]) -> dict[str, Any] | None:
        """What a sampler would have drawn for values; None where it could not have."""
        dimensions = [one for one in self.dimensions if one.key in values]
        draws = {one.key: one.drawn(values[one.key], _known(one, values, spec)) for one in dimensions}
        return None if None in draws.values() else draws

    def as_dict(self) -> dict[str, Any]:
        """What a person or agent is shown."""
        return {"search": {one.key: _described(one) for one in self.dimensions}, "left_out": dict(self.left_out)}


def build_space(
    schema: Mapping[str, Any],
    spec: Mapping[str, Any],
    limits: Mapping[str, Limit],
    *,
    search: Sequence[str] = (),
    no_search: Sequence[str] = (),
    shorthand: Mapping[str, str] | None = None,
) -> Space:
    """The space of a train.

    Args:
        schema: the packaged train schema. spec: the user's checked spec. limits: what the model says of spec and data.
        search: `PARAM`, `PARAM=low:high[:log|:linear]` or `PARAM=a,b,c`; with any of them, nothing else is searched.
        no_search: parameters to leave as they are. shorthand: short keys.

    Raises:
        BadRequest: a parameter is unknown or may not be searched, or a range is not one or leaves nothing.
    """
    short = shorthand or {}
    leaves = dict(leaf_schemas(schema))
    asked = dict(parse_request(text, short) for text in search)
    kept = {short.get(name, name) for name in no_search}
    for key in (*asked, *kept):
        _check_searchable(key, leaves, to_search=key in asked)
    ranged = {key for key, one in asked.items() if one.is_ranged}
    found: dict[str, Dimension] = {}
    left_out: dict[str, str] = {}
    for key in asked or schema["automl_default_parameters"]:
        limit = limits.get(key, Limit())
        if key in kept:
            left_out[key] = "left as it is on request"
            continue
        if limit.inert is not None and limit.unless_ranged not in ranged - kept:
            left_out[key] = limit.inert
            continue
        try:
            found[key] = _dimension(key, leaves, asked.get(key, ParameterRequest()), limit)
        except EmptyRange as lack:
            if key in ranged:
                raise BadRequest(f"{key} {lack}", fix="widen the range or the options", path=key) from None
            left_out[key] = str(lack)
    return _related(found, left_out, leaves, spec)


def _related(
    found: Mapping[str, Dimension], left_out: Mapping[str, str], leaves: Leaves, spec: Mapping[str, Any]
) -> Space:
    """The space of dimensions that were found, once it is seen what they do to each other."""
    idle = {key: reason for key, one in found.items() if (reason := _without_effect(one, spec, found))}
    kept = {key: one for key, one in found.items() if key not in idle}
    for key, clause in _mirrored(leaves, spec, kept):
        kept[key] = replace(kept[key], clauses=(*kept[key].clauses, clause))
    return Space(dimensions=tuple(_in_order(kept)), left_out={**left_out, **idle})


def _known(one: Dimension, values: Mapping[str, Any], spec: Mapping[str, Any]) -> dict[str, Any]:
    return {key: values.get(key, lookup(spec, key)) for key in one.needs()}


def _acts(one: Dimension, known: Mapping[str, Any]) -> bool:
    return all(known[key] == value for key, value in one.when)


def _check_searchable(key: str, leaves: Leaves, *, to_search: bool) -> None:
    may = [name for name, leaf in leaves.items() if leaf["x-automl"]["enabled"]]
    if key not in leaves:
        import difflib

        near = difflib.get_close_matches(key, may, n=3, cutoff=0.5) or may
        raise BadRequest(f"there is no parameter {key!r} to search", fix=f"use {', '.join(near)}", path=key)
    if to_search and key not in may:
        raise BadRequest(f"{key} may not be searched, accepted: {', '.join(may)}", fix="set it in the spec", path=key)


def _dimension(key: str, leaves: Leaves, asked: ParameterRequest, limit: Limit) -> Dimension:
    """The dimension of a parameter.

    Raises:
        EmptyRange: it has fewer than two values.
    """
    leaf = leaves[key]
    clauses = parse_condition(leaf["x-automl"].get("condition"))
    plain = Dimension(
        key=key,
        kind=_kind(leaf),
        rejected=tuple(leaf.get("not", {}).get("enum", ())),
        clauses=tuple(clause for clause in clauses if isinstance(clause.bound, str)),
        parent=leaf["x-automl"].get("parent"),
        when=_conditions(key, leaves),
    )
    if plain.kind == "choice" or asked.choices or "enum" in leaf:
        return _with_options(plain, leaf, asked, limit, clauses)
    return _with_range(plain, leaf, asked, limit, clauses)


def _kind(leaf: Mapping[str, Any]) -> Kind:
    return _KINDS[leaf["type"] if isinstance(leaf["type"], str) else leaf["type"][0]]


def _conditions(key: str, leaves: Leaves) -> tuple[tuple[str, Any], ...]:
    """What must hold for a parameter to act: its own condition, and those of the parameters named in them."""
    found: list[tuple[str, Any]] = []
    while (hint := leaves[key]["x-automl"].get("depends_on")) and (hint["key"], hint["value"]) not in found:
        key = hint["key"]
        found.append((key, hint["value"]))
    return tuple(found)


def _with_options(
    plain: Dimension, leaf: Mapping[str, Any], asked: ParameterRequest, limit: Limit, clauses: Sequence[Clause]
) -> Dimension:
    if asked.low is not None:
        raise EmptyRange("has options, no range")
    known, weights = _options(leaf)
    options = [read_option(plain.key, leaf, text) for text in asked.choices] or known
    if plain.kind == "choice":
        chosen = [option for option in dict.fromkeys(options) if option not in plain.rejected]
    else:
        chosen = sorted({option for option in options if _is_allowed(option, plain, leaf, limit, clauses)})
    if len(chosen) < 2:
        raise EmptyRange("has fewer than two options that schema, conditions and data allow")
    drawn = tuple(weights[option] for option in chosen) if weights and plain.kind == "choice" else ()
    return replace(plain, choices=tuple(chosen), weights=() if asked.choices else drawn)


def _options(leaf: Mapping[str, Any]) -> tuple[list[Any], dict[Any, float]]:
    """Options of the schema that may be drawn, and their weights unless these are even."""
    known = [False, True] if "boolean" in leaf["type"] else [one for one in leaf.get("enum", []) if one is not None]
    weights = leaf["x-automl"].get("option_weights") or [1.0] * len(known)
    weighted = {option: weight for option, weight in zip(known, weights, strict=True) if weight > 0}
    return list(weighted), weighted if len(set(weighted.values())) > 1 else {}


def _is_allowed(
    value: float, plain: Dimension, leaf: Mapping[str, Any], limit: Limit, clauses: Sequence[Clause]
) -> bool:
    low, high = _narrowed(-math.inf, math.inf, plain, leaf, limit, clauses)
    multiple, powered = _steps(clauses)
    in_steps = multiple is None or whole_steps(value, value, multiple)[0] == whole_steps(value, value, multiple)[1]
    in_powers = powered is None or value in powers(powered, value, value)
    return low <= value <= high and value not in plain.rejected and in_steps and in_powers


def _with_range(
    plain: Dimension, leaf: Mapping[str, Any], asked: ParameterRequest, limit: Limit, clauses: Sequence[Clause]
) -> Dimension:
    """The range the user, the data or the schema suggest, within the bounds of schema, data and plain conditions."""
    hints = leaf["x-automl"]
    multiple, powered = _steps(clauses)
    step = multiple if multiple is not None else 1.0 if plain.kind == "int" else None
    plain = replace(plain, step=step)
    by_data = (limit.low, limit.high) if limit.low is not None else (hints.get("low"), hints.get("high"))
    low, high = by_data if asked.low is None else (asked.low, asked.high)
    low, high = -math.inf if low is None else low, math.inf if high is None else high
    low, high = _narrowed(low, high, plain, leaf, limit, clauses)
    if not (math.isfinite(low) and math.isfinite(high)):
        raise EmptyRange(f"has no finite range; search it as {plain.key}=low:high")
    if step is not None:
        low, high = whole_steps(low, high, step)
    if low >= high:
        raise EmptyRange(f"has no room: fewer than two values from {low:g} to {high:g}")
    if powered is not None:
        listed = [one for one in powers(powered, low, high) if _is_allowed(one, plain, leaf, limit, clauses)]
        if len(listed) < 2:
            raise EmptyRange(f"has no room: fewer than two values keep {hints['condition']!r}")
        return replace(plain, choices=tuple(listed))
    log = (hints.get("log", False) if asked.log is None else asked.log) and low > 0
    off = hints.get("off") if asked.low is None or asked.low == hints.get("off") else None
    return replace(plain, low=low, high=high, log=log, off=off)


def _narrowed(
    low: float, high: float, plain: Dimension, leaf: Mapping[str, Any], limit: Limit, clauses: Sequence[Clause]
) -> tuple[float, float]:
    """A range within the bounds of schema, data and the conditions that name a number."""
    bounds: list[tuple[str, Any]] = [(op, leaf.get(name)) for name, op in _SCHEMA_BOUNDS.items()]
    bounds += [("<=", limit.high)] + [(clause.op, clause.bound) for clause in clauses if clause.op in _MIRRORED]
    for op, bound in bounds:
        if isinstance(bound, int | float):
            low, high = narrow(low, high, op, bound, step=plain.step)
    return low, high


def _steps(clauses: Sequence[Clause]) -> tuple[float | None, float | None]:
    """What values must be a multiple of, and a power of."""
    found = {clause.op: clause.bound for clause in clauses if clause.op not in _MIRRORED}
    multiple, powered = found.get("multiple of"), found.get("power of")
    return (None if multiple is None else float(multiple)), (None if powered is None else float(powered))


def _without_effect(one: Dimension, spec: Mapping[str, Any], found: Mapping[str, Dimension]) -> str | None:
    """Why a dimension would change nothing, if so: what it depends on never has the value that takes."""
    for key, value in one.when:
        if key in found:
            if found[key].choices and value not in found[key].choices:
                return f"acts only while {key} is {value}, which is not among its options"
        elif lookup(spec, key) != value:
            return f"acts only while {key} is {value}, and it is {lookup(spec, key)}"
    return None


def _mirrored(leaves: Leaves, spec: Mapping[str, Any], found: Mapping[str, Dimension]) -> Iterator[tuple[str, Clause]]:
    """Conditions that parameters which keep the spec's value put on searched ones, seen from these."""
    for key, leaf in leaves.items():
        may_act = all(on in found or lookup(spec, on) == value for on, value in _conditions(key, leaves))
        if key in found or not may_act or lookup(spec, key) is None:
            continue
        for clause in parse_condition(leaf["x-automl"].get("condition")):
            if clause.bound in found:
                yield str(clause.bound), Clause(op=_MIRRORED[clause.op], bound=key)


def _in_order(found: Mapping[str, Dimension]) -> Iterator[Dimension]:
    """Each dimension after those it needs.

    Raises:
        ValueError: parameters of the schema depend on each other in a circle.
    """
    waiting = dict(found)
    while waiting:
        ready = [key for key, one in waiting.items() if not one.needs() & waiting.keys()]
        if not ready:
            raise ValueError(f"{', '.join(waiting)} depend on each other in a circle")
        for key in ready:
            yield waiting.pop(key)


def _described(one: Dimension) -> dict[str, Any]:
    found: dict[str, Any] = {"kind": one.kind}
    if one.choices:
        found |= {"choices": list(one.choices)} | ({"weights": list(one.weights)} if one.weights else {})
    else:
        found |= {"low": one.low, "high": one.high, "log": one.log}
        found |= {"multiple_of": one.step} if one.step not in (None, 1) else {}
    found |= {"off": one.off} if one.off is not None else {}
    return found | ({"only_when": dict(one.when)} if one.when else {})
