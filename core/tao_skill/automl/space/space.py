"""The search space of a train, from its packaged schema, the user's spec and the limits set by the data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from tao_skill.automl.space.dimension import Clause, Dimension, Suggests, parse_condition
from tao_skill.automl.space.ranges import EmptyRange, Leaves, conditions, make_dimension
from tao_skill.automl.space.request import ParameterRequest, parse_request
from tao_skill.automl.space.summary import SpaceSummary, summarize
from tao_skill.errors import BadRequest
from tao_skill.outcome import Limit
from tao_skill.spec.schema import leaves as leaf_schemas
from tao_skill.spec.tree import lookup

_MIRRORED: Final = {"<": ">", ">": "<", "<=": ">=", ">=": "<="}


@dataclass(frozen=True, kw_only=True)
class Space:
    """Searched parameters, each after those it needs, and the reason why each of the others is not searched."""

    dimensions: tuple[Dimension, ...]
    left_out: Mapping[str, str] = field(default_factory=dict)

    def suggest(self, trial: Suggests, spec: Mapping[str, Any]) -> dict[str, Any] | None:
        """Values by key that satisfy every condition, without parameters that have no effect; None if a draw fails."""
        values: dict[str, Any] = {}
        for dimension in self.dimensions:
            needed = _needed(dimension, values, spec)
            if not _has_effect(dimension, needed):
                continue
            if (value := dimension.suggest(trial, needed)) is None:
                return None
            values[dimension.key] = value
        return values

    def values_of(self, spec: Mapping[str, Any]) -> dict[str, Any]:
        """The spec's own values of the searched parameters, without parameters that have no effect."""
        active = (item for item in self.dimensions if _has_effect(item, _needed(item, {}, spec)))
        return {dimension.key: lookup(spec, dimension.key) for dimension in active}

    def values_in(self, spec: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
        """Values of the searched parameters in a configuration, without parameters that have no effect."""
        return self.values_of(with_values(spec, values))

    def draws_of(self, values: Mapping[str, Any], spec: Mapping[str, Any]) -> dict[str, Any] | None:
        """The draws that give these values: the inverse of `suggest`; None if no draws do."""
        draws = {
            dimension.key: dimension.draw_of(values[dimension.key], _needed(dimension, values, spec))
            for dimension in self.dimensions
            if dimension.key in values
        }
        return None if None in draws.values() else draws

    def summary(self) -> SpaceSummary:
        """The space as plans and reports describe it."""
        search = {dimension.key: summarize(dimension) for dimension in self.dimensions}
        return SpaceSummary(search=search, left_out=dict(self.left_out))


def build_space(
    schema: Mapping[str, Any],
    spec: Mapping[str, Any],
    limits: Mapping[str, Limit],
    *,
    search: Sequence[str] = (),
    no_search: Sequence[str] = (),
    shorthand: Mapping[str, str] | None = None,
    defaults: Sequence[str] | None = None,
) -> Space:
    """The space of a train.

    Args:
        schema: the packaged train schema. spec: the user's checked spec. limits: set by spec and data, from the model.
        search: `PARAM`, `PARAM=low:high[:log|:linear]` or `PARAM=a,b,c`; if any, only these are searched.
        no_search: parameters not to search. shorthand: short keys.
        defaults: parameters searched without a request; None for those that the schema marks.

    Raises:
        BadRequest: a parameter is unknown or may not be searched, or a range is malformed or empty.
    """
    short = shorthand or {}
    leaves = dict(leaf_schemas(schema))
    requests = dict(parse_request(text, short) for text in search)
    excluded = {short.get(name, name) for name in no_search}
    for key in (*requests, *excluded):
        _check_searchable(key, leaves, is_requested=key in requests)
    ranged = {key for key, request in requests.items() if request.is_ranged}
    dimensions: dict[str, Dimension] = {}
    left_out: dict[str, str] = {}
    if defaults is None:
        defaults = schema["automl_default_parameters"]
    for key in requests or defaults:
        limit = limits.get(key, Limit())
        if key in excluded:
            left_out[key] = "excluded on request"
            continue
        if limit.inert is not None and limit.unless_ranged not in ranged - excluded:
            left_out[key] = limit.inert
            continue
        try:
            dimensions[key] = make_dimension(key, leaves, requests.get(key, ParameterRequest()), limit)
        except EmptyRange as reason:
            if key in ranged:
                raise BadRequest(f"{key} {reason}", fix="widen the range or the options", path=key) from None
            left_out[key] = str(reason)
    return _related(dimensions, left_out, leaves, spec)


def with_values(spec: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """A nested spec with other values, by dotted key."""
    result = dict(spec)
    for key, value in values.items():
        section, _, rest = key.partition(".")
        result[section] = with_values(result.get(section) or {}, {rest: value}) if rest else value
    return result


def _check_searchable(key: str, leaves: Leaves, *, is_requested: bool) -> None:
    searchable = [name for name, leaf in leaves.items() if leaf["x-automl"]["enabled"]]
    if key not in leaves:
        import difflib

        similar = difflib.get_close_matches(key, searchable, n=3, cutoff=0.5) or searchable
        raise BadRequest(f"{key!r} is not a parameter of train", fix=f"use {', '.join(similar)}", path=key)
    if is_requested and key not in searchable:
        accepted = ", ".join(searchable)
        raise BadRequest(f"{key} may not be searched, accepted: {accepted}", fix="set it in the spec", path=key)


def _related(
    dimensions: Mapping[str, Dimension], left_out: Mapping[str, str], leaves: Leaves, spec: Mapping[str, Any]
) -> Space:
    """The space, once the conditions between its parameters are resolved."""
    reasons = {key: _no_effect(dimension, spec, dimensions) for key, dimension in dimensions.items()}
    inert = {key: reason for key, reason in reasons.items() if reason}
    searched = {key: dimension for key, dimension in dimensions.items() if key not in inert}
    for key, clause in _mirrored(leaves, spec, searched):
        searched[key] = replace(searched[key], clauses=(*searched[key].clauses, clause))
    return Space(dimensions=tuple(_in_order(searched)), left_out={**left_out, **inert})


def _needed(dimension: Dimension, values: Mapping[str, Any], spec: Mapping[str, Any]) -> dict[str, Any]:
    return {key: values.get(key, lookup(spec, key)) for key in dimension.needs()}


def _has_effect(dimension: Dimension, needed: Mapping[str, Any]) -> bool:
    return all(needed[key] == value for key, value in dimension.when)


def _no_effect(dimension: Dimension, spec: Mapping[str, Any], dimensions: Mapping[str, Dimension]) -> str | None:
    """The reason why a parameter never has an effect, if so: a parameter it depends on never has the required value."""
    for key, value in dimension.when:
        if key in dimensions:
            if dimensions[key].choices and value not in dimensions[key].choices:
                return f"acts only while {key} is {value}, which is not among its options"
        elif lookup(spec, key) != value:
            return f"acts only while {key} is {value}, and it is {lookup(spec, key)}"
    return None


def _mirrored(
    leaves: Leaves, spec: Mapping[str, Any], dimensions: Mapping[str, Dimension]
) -> Iterator[tuple[str, Clause]]:
    """Conditions between a fixed and a searched parameter, as clauses of the searched parameter."""
    for key, leaf in leaves.items():
        may_act = all(on in dimensions or lookup(spec, on) == value for on, value in conditions(key, leaves))
        if key in dimensions or not may_act or lookup(spec, key) is None:
            continue
        for clause in parse_condition(leaf["x-automl"].get("condition")):
            if clause.bound in dimensions:
                yield str(clause.bound), Clause(op=_MIRRORED[clause.op], bound=key)


def _in_order(dimensions: Mapping[str, Dimension]) -> Iterator[Dimension]:
    """Each dimension after those it needs.

    Raises:
        ValueError: parameters of the schema depend on each other in a cycle.
    """
    waiting = dict(dimensions)
    while waiting:
        ready = [key for key, dimension in waiting.items() if not dimension.needs() & waiting.keys()]
        if not ready:
            raise ValueError(f"{', '.join(waiting)} depend on each other in a cycle")
        for key in ready:
            yield waiting.pop(key)
