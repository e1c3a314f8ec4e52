"""Walk a config type as a tree of sections and parameters, in declaration order."""

from __future__ import annotations

import types
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from functools import cache
from itertools import accumulate
from typing import Any, NamedTuple, Union, get_args, get_origin, get_type_hints

from tao_skill.spec.param import Param


class Leaf(NamedTuple):
    """A parameter: dotted key, metadata, declared type and default (`param.REQUIRED` if it has none)."""

    key: str
    param: Param
    type: Any
    default: Any


@dataclass(frozen=True, kw_only=True)
class Node:
    """A field of a config type: a parameter, or a section, i.e. a nested config type."""

    key: str
    name: str
    param: Param
    type: Any
    default: Any
    is_section: bool


@dataclass(frozen=True, kw_only=True)
class Shape:
    """The parts of a parameter's type: `list[int] | None` has item int, container list and is optional."""

    item: type
    container: type | None
    optional: bool


@cache
def children(config_type: type, action: str | None = None, prefix: str = "") -> tuple[Node, ...]:
    """Return the direct fields of a config type that `action` reads, or all fields if it is None."""
    hints = _hints(config_type)
    nodes = []
    for field in fields(config_type):
        declared, param = get_args(hints[field.name])
        if action is None or not param.only or action in param.only:
            key = f"{prefix}.{field.name}" if prefix else field.name
            nodes.append(
                Node(
                    key=key,
                    name=field.name,
                    param=param,
                    type=declared,
                    default=_default(field),
                    is_section=is_dataclass(declared),
                )
            )
    return tuple(nodes)


@cache
def _hints(config_type: type) -> Mapping[str, Any]:
    return get_type_hints(config_type, include_extras=True)


def walk(config_type: type, action: str | None = None, prefix: str = "") -> Iterator[Node]:
    """Yield every section and parameter that `action` reads; a section precedes its fields."""
    for node in children(config_type, action, prefix):
        yield node
        if node.is_section:
            yield from walk(node.type, action, node.key)


def iter_params(config_type: type, action: str | None = None) -> Iterator[Leaf]:
    """Yield every parameter that `action` reads, or all parameters if it is None."""
    return iter(_leaves(config_type, action))


@cache
def _leaves(config_type: type, action: str | None) -> tuple[Leaf, ...]:
    params = (node for node in walk(config_type, action) if not node.is_section)
    return tuple(Leaf(node.key, node.param, node.type, node.default) for node in params)


@cache
def _keys(config_type: type) -> frozenset[str]:
    return frozenset(leaf.key for leaf in iter_params(config_type))


def leaf_above(config_type: type, key: str) -> str | None:
    """Return the mapping parameter that contains a key: `dataset.label_map` for `dataset.label_map.walk`."""
    known = _keys(config_type)
    prefixes = accumulate(key.split(".")[:-1], lambda prefix, name: f"{prefix}.{name}")
    return next((prefix for prefix in prefixes if prefix in known), None)


def readers(config_type: type, key: str) -> tuple[str, ...]:
    """Return the actions that read a known key; empty if all actions do."""
    names: tuple[str, ...] = ()
    for node in walk(config_type):
        if node.param.only and (key == node.key or key.startswith(f"{node.key}.")):
            names = tuple(name for name in node.param.only if not names or name in names)
    return names


def lookup(values: Mapping[str, Any], key: str) -> Any:
    """Return the value under a dotted key, or None."""
    value: Any = values
    for name in key.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


@cache
def alternatives(declared: Any) -> tuple[Any, ...]:
    """Return the members of a union type without None: `list[str]` and `dict[str, Any]` of their union."""
    is_union = get_origin(declared) in (Union, types.UnionType)
    return tuple(part for part in get_args(declared) if part is not types.NoneType) if is_union else (declared,)


@cache
def shape(declared: Any) -> Shape:
    """Split a parameter's type into its parts."""
    optional = get_origin(declared) in (Union, types.UnionType)
    inner = next(part for part in get_args(declared) if part is not types.NoneType) if optional else declared
    container = get_origin(inner)
    return Shape(item=get_args(inner)[-1] if container else inner, container=container, optional=optional)


def _default(field: Field[Any]) -> Any:
    return field.default if field.default_factory is MISSING else field.default_factory()
