"""The search space of a train, from its packaged schema, the user's spec and what the data can serve."""

from __future__ import annotations

import contextlib
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from tao_skill.action import Limit
from tao_skill.automl.dimension import COMPARE, LISTED, Clause, Dimension, Kind, Suggests, parse_condition
from tao_skill.errors import BadRequest
from tao_skill.spec.tree import lookup

_REQUEST: Final = re.compile(r"(?P<key>[^=\s]+)(?:=(?P<values>.+))?")
_RANGE: Final = re.compile(r"(?P<low>[^:,]+):(?P<high>[^:,]+)(?P<log>:log)?")
_SCHEMA_BOUNDS: Final = {"minimum": ">=", "exclusiveMinimum": ">", "maximum": "<=", "exclusiveMaximum": "<"}
_KINDS: Final[Mapping[str, Kind]] = {"number": "float", "integer": "int", "string": "choice", "boolean": "choice"}


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A parameter the user wants searched, with a range or options where given."""

    low: float | None = None
    high: float | None = None
    log: bool | None = None
    choices: tuple[str, ...] = ()

    @property
    def is_ranged(self) -> bool:
        """Whether more than the name was given."""
        return self.low is not None or bool(self.choices)


@dataclass(frozen=True, kw_only=True)
class Space:
    """Searched parameters, each after those it depends on, and the reason why others are not searched."""

    dimensions: tuple[Dimension, ...]
    left_out: Mapping[str, str] = field(default_factory=dict)

    def suggest(self, trial: Suggests, spec: Mapping[str, Any]) -> dict[str, Any]:
        """Values by key that keep every condition; a parameter without effect in this draw is not drawn."""
        values: dict[str, Any] = {}
        for one in self.dimensions:
            known = {key: values.get(key, lookup(spec, key)) for key in one.needs()}
            if one.when is None or known[one.when[0]] == one.when[1]:
                values[one.key] = one.suggest(trial, known)
        return values

    def as_dict(self) -> dict[str, Any]:
        """What a person or agent is shown."""
        return {"search": {one.key: _shown(one) for one in self.dimensions}, "left_out": dict(self.left_out)}


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
        search: `PARAM`, `PARAM=low:high[:log]` or `PARAM=a,b,c`; with any of them, nothing else is searched.
        no_search: parameters to leave as they are. shorthand: short keys.

    Raises:
        BadRequest: a parameter is unknown or may not be searched, or a range is not one.
    """
    short = shorthand or {}
    asked = dict(_parse(text, short) for text in search)
    kept = {short.get(name, name) for name in no_search}
    leaves = dict(_leaves(schema))
    for key in (*asked, *kept):
        _check_searchable(key, leaves)
    left_out: dict[str, str] = {}
    found: dict[str, Dimension] = {}
    for key in asked or schema["automl_default_parameters"]:
        one = _dimension(key, leaves[key], asked.get(key, Asked()), limits.get(key, Limit()))
        if key in kept:
            left_out[key] = "left as it is on request"
        elif isinstance(one, str):
            left_out[key] = one
        else:
            found[key] = one
    for key, one in list(found.items()):
        if reason := _without_effect(one, spec, found):
            left_out[key] = reason
            del found[key]
    return Space(dimensions=tuple(_in_order(found)), left_out=left_out)


def _parse(text: str, shorthand: Mapping[str, str]) -> tuple[str, Asked]:
    match = _REQUEST.fullmatch(text.strip())
    if match is None:
        raise BadRequest(f"{text!r} is no search request", fix="write PARAM, PARAM=low:high[:log] or PARAM=a,b,c")
    key, values = shorthand.get(match["key"], match["key"]), match["values"]
    if values is None:
        return key, Asked()
    if ranged := _RANGE.fullmatch(values):
        try:
            low, high = float(ranged["low"]), float(ranged["high"])
        except ValueError:
            low = high = math.nan
        if not (math.isfinite(low) and math.isfinite(high) and low < high) or (ranged["log"] and low <= 0):
            raise BadRequest(
                f"{values!r} is no range for {key}", fix="write low:high with low < high, both above 0 for :log"
            )
        return key, Asked(low=low, high=high, log=bool(ranged["log"]))
    return key, Asked(choices=tuple(part.strip() for part in values.split(",")))


def _leaves(schema: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    for name, node in schema["properties"].items():
        if "properties" in node:
            yield from _leaves(node, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", node


def _check_searchable(key: str, leaves: Mapping[str, Mapping[str, Any]]) -> None:
    if key not in leaves:
        raise BadRequest(f"there is no parameter {key!r} to search", fix="see tao-skill automl space", path=key)
    if not leaves[key]["x-automl"]["enabled"]:
        may = ", ".join(name for name, leaf in leaves.items() if leaf["x-automl"]["enabled"])
        raise BadRequest(f"{key} may not be searched, accepted: {may}", fix="set it in the spec instead", path=key)


def _dimension(key: str, leaf: Mapping[str, Any], asked: Asked, limit: Limit) -> Dimension | str:
    """The dimension of a parameter, or why there is none."""
    if limit.inert is not None and not (asked.is_ranged and limit.unless_ranged):
        return limit.inert
    hints = leaf["x-automl"]
    kind = _KINDS[leaf["type"] if isinstance(leaf["type"], str) else leaf["type"][0]]
    clauses = parse_condition(hints.get("condition"))
    when = (hints["depends_on"]["key"], hints["depends_on"]["value"]) if "depends_on" in hints else None
    if kind == "choice" or asked.choices:
        options, weights = _options(key, leaf, asked)
        return Dimension(key=key, kind="choice", choices=options, weights=weights, when=when)
    low, high = _range(leaf, asked, limit, clauses)
    if not (math.isfinite(low) and math.isfinite(high)):
        return "has no finite range; give one, e.g. --search " + f"{key}=low:high"
    if low >= high:
        return f"has no room: from {low:g} to {high:g}"
    listed = [clause for clause in clauses if clause.op in LISTED]
    values = _listed(listed, low, high)
    if listed and len(values) < 2:
        return f"has no room: fewer than two values from {low:g} to {high:g} keep {hints['condition']!r}"
    log = bool(hints.get("log", False) if asked.log is None else asked.log) and low > 0
    related = tuple(clause for clause in clauses if isinstance(clause.bound, str))
    off = hints.get("off") if not asked.is_ranged or asked.low == hints.get("off") else None
    return Dimension(
        key=key, kind=kind, low=low, high=high, log=log, choices=tuple(values), off=off, clauses=related, when=when
    )


def _options(key: str, leaf: Mapping[str, Any], asked: Asked) -> tuple[tuple[Any, ...], tuple[float, ...]]:
    known = [False, True] if leaf["type"] == "boolean" else list(leaf.get("enum", []))
    if asked.choices:
        return tuple(_read_option(key, leaf, known, text) for text in asked.choices), ()
    weights = leaf["x-automl"].get("option_weights") or [1.0] * len(known)
    kept = [(option, weight) for option, weight in zip(known, weights, strict=True) if weight > 0]
    even = len({weight for _, weight in kept}) == 1
    return tuple(option for option, _ in kept), () if even else tuple(weight for _, weight in kept)


def _read_option(key: str, leaf: Mapping[str, Any], known: Sequence[Any], text: str) -> Any:
    """An option as the schema types it."""
    import yaml
    from jsonschema import Draft202012Validator

    value = yaml.safe_load(text)
    if leaf["type"] == "number":
        with contextlib.suppress(TypeError, ValueError):  # YAML reads 1e-3 as text
            value = float(value)
    if not Draft202012Validator(dict(leaf)).is_valid(value):
        accepted = f", accepted: {', '.join(map(str, known))}" if known else ""
        raise BadRequest(f"{key} cannot be {text!r}{accepted}", fix="correct the options", path=key)
    return value


def _range(leaf: Mapping[str, Any], asked: Asked, limit: Limit, clauses: Sequence[Clause]) -> tuple[float, float]:
    """The range the user, the data or the schema suggest, within the bounds of schema, data and plain conditions."""
    hints = leaf["x-automl"]
    low = next((bound for bound in (asked.low, limit.low, hints.get("low")) if bound is not None), -math.inf)
    high = next((bound for bound in (asked.high, hints.get("high")) if bound is not None), math.inf)
    bounds = [(op, leaf.get(name)) for name, op in _SCHEMA_BOUNDS.items()] + [("<=", limit.high)]
    bounds += [(clause.op, clause.bound) for clause in clauses if clause.op in COMPARE]
    for op, bound in bounds:
        if isinstance(bound, int | float):
            low, high = COMPARE[op](low, high, bound)
    return low, high


def _listed(clauses: Sequence[Clause], low: float, high: float) -> list[int]:
    """Values of the range that keep every clause that leaves only some."""
    found = [LISTED[clause.op](float(clause.bound), low, high) for clause in clauses]
    return [value for value in found[0] if all(value in other for other in found)] if found else []


def _without_effect(one: Dimension, spec: Mapping[str, Any], found: Mapping[str, Dimension]) -> str | None:
    """Why a dimension would change nothing, if so: what it depends on has another value and is not searched."""
    if one.when is None or one.when[0] in found or lookup(spec, one.when[0]) == one.when[1]:
        return None
    return f"acts only while {one.when[0]} is {one.when[1]}, and it is {lookup(spec, one.when[0])}"


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


def _shown(one: Dimension) -> dict[str, Any]:
    shown: dict[str, Any] = {"kind": one.kind}
    if one.choices:
        shown |= {"choices": list(one.choices)} | ({"weights": list(one.weights)} if one.weights else {})
    else:
        shown |= {"low": one.low, "high": one.high, "log": one.log}
    shown |= {"off": one.off} if one.off is not None else {}
    return shown | ({"only_when": {one.when[0]: one.when[1]}} if one.when else {})
