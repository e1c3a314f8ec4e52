"""Validate the spec of an action: normalise values, report all problems at once, fill in defaults."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, Final

from tao_skill.errors import Command, Fix, SpecError
from tao_skill.spec.param import REQUIRED, Param
from tao_skill.spec.problems import Reader, find_problems
from tao_skill.spec.schema import object_schema
from tao_skill.spec.tree import Node, children, shape, walk


def check(config_type: type, action: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the complete spec of an action: normalised, validated against its schema, with defaults.

    Raises:
        SpecError: keys are unknown, not read by the action or missing, or values are not accepted.
    """
    spec = normalised(config_type, action, values)
    reader = Reader(
        name=action,
        noun="a parameter",
        keys=Fix("take a key from `", Command("template", action), "`"),
        config_type=config_type,
        action=action,
    )
    if problems := find_problems(_schema(config_type, action), spec, reader, values):
        raise SpecError(problems)
    return _with_defaults(config_type, action, spec)


def project(config_type: type, action: str, values: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Select the keys that `action` reads from a spec for all actions.

    Returns:
        The selected values, and the dotted keys that only other actions read. Unknown keys stay among the values, so
        that `check` reports them.
    """
    read_keys = {node.key for node in walk(config_type, action)}
    return _project(config_type, read_keys, values, "")


def is_blank(value: Any) -> bool:
    """Whether a value counts as not given: null, an empty string, or the `???` of a template."""
    return value is None or (isinstance(value, str) and value in ("", REQUIRED))


def normalised(config_type: type, action: str | None, values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return values in canonical form: no blanks, 10.0 as int 10, 1 as float 1.0, choices in their declared case."""
    known = {node.name: node for node in children(config_type, action, prefix)}
    result: dict[str, Any] = {}
    for name, node in known.items():
        value = values.get(name)
        if node.is_section:
            is_section = isinstance(value, Mapping) or is_blank(value)
            result[name] = normalised(node.type, action, value or {}, node.key) if is_section else value
        elif not is_blank(value):
            result[name] = _converted(node, value)
    return result | {name: value for name, value in values.items() if name not in known}


@cache
def _schema(config_type: type, action: str) -> Mapping[str, Any]:
    return object_schema(config_type, action)


def _project(
    config_type: type, read_keys: set[str], values: Mapping[str, Any], prefix: str
) -> tuple[dict[str, Any], list[str]]:
    known = {node.name: node for node in children(config_type, None, prefix)}
    kept: dict[str, Any] = {}
    ignored: list[str] = []
    for name, value in values.items():
        node = known.get(name)
        if node is not None and node.is_section and isinstance(value, Mapping):
            section, ignored_keys = _project(node.type, read_keys, value, node.key)
            kept |= {name: section} if section else {}
            ignored += ignored_keys
        elif node is None or node.key in read_keys:
            kept[name] = value
        else:
            ignored.append(node.key)
    return kept, ignored


def _with_defaults(config_type: type, action: str, spec: Mapping[str, Any]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for node in children(config_type, action):
        if node.is_section:
            result[node.name] = _with_defaults(node.type, action, spec[node.name])
        else:
            result[node.name] = spec[node.name] if node.name in spec else copy.deepcopy(node.default)
    return result


def _converted(node: Node, value: Any) -> Any:
    parts = shape(node.type)
    convert = _CONVERT[parts.item]
    if parts.container is None:
        return convert(value, node.param)
    if parts.container is list and isinstance(value, list | tuple):
        return [convert(item, node.param) for item in value]
    if parts.container is dict and isinstance(value, Mapping):
        return {str(name): convert(item, node.param) for name, item in value.items()}
    return value


def _to_int(value: Any, _: Param) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _to_float(value: Any, _: Param) -> Any:
    is_integer = isinstance(value, int) and not isinstance(value, bool)
    try:
        return float(value) if is_integer else value
    except OverflowError:
        return math.inf


def _to_bool(value: Any, _: Param) -> Any:
    return _YAML_1_1_BOOLEANS.get(value.lower(), value) if isinstance(value, str) else value


def _to_choice(value: Any, param: Param) -> Any:
    if isinstance(value, bool) and str(value).lower() in param.choices:
        return str(value).lower()
    if not param.fold_case or not isinstance(value, str):
        return value
    return next((choice for choice in param.choices if choice.casefold() == value.casefold()), value)


_YAML_1_1_BOOLEANS: Final[Mapping[str, bool]] = {"yes": True, "on": True, "no": False, "off": False}

_CONVERT: Final[Mapping[type, Callable[[Any, Param], Any]]] = {
    int: _to_int,
    float: _to_float,
    bool: _to_bool,
    str: _to_choice,
}
