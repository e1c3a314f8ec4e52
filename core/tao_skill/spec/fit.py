"""Whether a value plainly fits one of our own schemas; jsonschema, which takes long to load, judges all the others."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import NoneType
from typing import Any, Final

_TYPES: Final[Mapping[str, tuple[type, ...]]] = {
    "string": (str,),
    "boolean": (bool,),
    "integer": (int,),
    "number": (int, float),
    "object": (dict,),
    "array": (list,),
    "null": (NoneType,),
}

_NOTES: Final = frozenset({"description", "default", "x-automl"})
"""Keywords that ask for nothing."""

Rule = Callable[[Any, Any, Mapping[str, Any]], bool]
"""Whether a value meets what a keyword asks for, in a schema."""


def fits(value: Any, schema: Mapping[str, Any]) -> bool:
    """Whether a value fits a schema as `spec.schema` writes them; False also where jsonschema has to say."""
    asked = {name: one for name, one in schema.items() if name not in _NOTES}
    return asked.keys() <= _RULES.keys() and all(_RULES[name](value, one, schema) for name, one in asked.items())


def _type(value: Any, asked: str | list[str], schema: Mapping[str, Any]) -> bool:
    return any(type(value) in _TYPES[name] for name in ([asked] if isinstance(asked, str) else asked))


def _enum(value: Any, asked: list[Any], schema: Mapping[str, Any]) -> bool:
    return any(type(value) is type(one) and value == one for one in asked)


def _bound(holds: Callable[[float, float], bool]) -> Rule:
    return lambda value, asked, schema: value is None or (type(value) in (int, float) and holds(value, asked))


def _not(value: Any, asked: Mapping[str, Any], schema: Mapping[str, Any]) -> bool:
    return asked.keys() == {"enum"} and value not in asked["enum"]


def _properties(value: Any, asked: Mapping[str, Any], schema: Mapping[str, Any]) -> bool:
    return type(value) is dict and all(fits(one, asked[name]) for name, one in value.items() if name in asked)


def _additional(value: Any, asked: Any, schema: Mapping[str, Any]) -> bool:
    known = schema.get("properties", {})
    others = [one for name, one in value.items() if name not in known] if type(value) is dict else []
    return not others if asked is False else all(fits(one, asked) for one in others)


def _required(value: Any, asked: list[str], schema: Mapping[str, Any]) -> bool:
    return type(value) is dict and all(name in value for name in asked)


def _items(value: Any, asked: Mapping[str, Any], schema: Mapping[str, Any]) -> bool:
    return type(value) is not list or all(fits(one, asked) for one in value)


_RULES: Final[Mapping[str, Rule]] = {
    "type": _type,
    "enum": _enum,
    "minimum": _bound(lambda value, least: value >= least),
    "exclusiveMinimum": _bound(lambda value, below: value > below),
    "maximum": _bound(lambda value, most: value <= most),
    "not": _not,
    "properties": _properties,
    "additionalProperties": _additional,
    "required": _required,
    "items": _items,
}
"""Every keyword that `spec.schema` writes."""
