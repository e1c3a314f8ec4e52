"""A config type walked as a tree of sections and parameters, in declaration order."""

from __future__ import annotations

import types
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from functools import cache
from itertools import accumulate
from typing import Any, NamedTuple, Union, get_args, get_origin, get_type_hints

from tao_skill.spec.param import Param


class Leaf(NamedTuple):
    """One parameter: dotted key, metadata, declared type and default (`param.REQUIRED` if it has none)."""

    key: str
    param: Param
    type: Any
    default: Any


@dataclass(frozen=True, kw_only=True)
class Node:
    """One field of a config type: a parameter, or a section, which is a config type and holds further fields."""

    key: str
    name: str
    param: Param
    type: Any
    default: Any
    is_section: bool


@dataclass(frozen=True, kw_only=True)
class Shape:
    """A parameter's type taken apart: `list[int] | None` has item int, container list and is optional."""

    item: type
    container: type | None
    optional: bool


@cache
def children(config_type: type, action: str | None = None, prefix: str = "") -> tuple[Node, ...]:
    """The fields directly inside a config type that `action` reads; all of them for None."""
    hints = _hints(config_type)
    found = []
    for field in fields(config_type):
        declared, param = get_args(hints[field.name])
        if action is None or not param.only or action in param.only:
            key = f"{prefix}.{field.name}" if prefix else field.name
            found.append(
                Node(
                    key=key,
                    name=field.name,
                    param=param,
                    type=declared,
                    default=_default(field),
                    is_section=is_dataclass(declared),
                )
            )
    return tuple(found)


@cache
def _hints(config_type: type) -> Mapping[str, Any]:
    return get_type_hints(config_type, include_extras=True)


def walk(config_type: type, action: str | None = None, prefix: str = "") -> Iterator[Node]:
    """Every section and parameter that `action` reads, a section before what it holds."""
    for node in children(config_type, action, prefix):
        yield node
        if node.is_section:
            yield from walk(node.type, action, node.key)


def iter_params(config_type: type, action: str | None = None) -> Iterator[Leaf]:
    """Every parameter that `action` reads, or that the model has if no action is given."""
    return iter(_leaves(config_type, action))


@cache
def _leaves(config_type: type, action: str | None) -> tuple[Leaf, ...]:
    found = (node for node in walk(config_type, action) if not node.is_section)
    return tuple(Leaf(node.key, node.param, node.type, node.default) for node in found)


@cache
def _keys(config_type: type) -> frozenset[str]:
    return frozenset(leaf.key for leaf in iter_params(config_type))


def leaf_above(config_type: type, key: str) -> str | None:
    """The parameter that a key lies inside of: `dataset.label_map` for `dataset.label_map.walk`."""
    known = _keys(config_type)
    sections = accumulate(key.split(".")[:-1], lambda section, name: f"{section}.{name}")
    return next((one for one in sections if one in known), None)


def readers(config_type: type, key: str) -> tuple[str, ...]:
    """Actions that read a known key; empty means every action."""
    names: tuple[str, ...] = ()
    for node in walk(config_type):
        if node.param.only and (key == node.key or key.startswith(f"{node.key}.")):
            names = tuple(name for name in node.param.only if not names or name in names)
    return names


def lookup(values: Mapping[str, Any], key: str) -> Any:
    """The value under a dotted key; None where there is none."""
    found: Any = values
    for name in key.split("."):
        found = found.get(name) if isinstance(found, Mapping) else None
    return found


@cache
def alternatives(declared: Any) -> tuple[Any, ...]:
    """The types that a declared one accepts, null aside: `list[str]` and `dict[str, Any]` of their union."""
    is_union = get_origin(declared) in (Union, types.UnionType)
    return tuple(one for one in get_args(declared) if one is not types.NoneType) if is_union else (declared,)


@cache
def shape(declared: Any) -> Shape:
    """Take a parameter's type apart."""
    optional = get_origin(declared) in (Union, types.UnionType)
    inner = next(part for part in get_args(declared) if part is not types.NoneType) if optional else declared
    container = get_origin(inner)
    return Shape(item=get_args(inner)[-1] if container else inner, container=container, optional=optional)


def _default(field: Field[Any]) -> Any:
    return field.default if field.default_factory is MISSING else field.default_factory()
