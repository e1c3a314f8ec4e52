"""A spec against what an action reads: every problem at once, each with key, value, what is accepted and a fix."""

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
    """The complete spec of an action: normalised, validated against its published schema, defaults filled in.

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
    return _filled(config_type, action, spec)


def project(config_type: type, action: str, values: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Split a file of all actions: what `action` reads, and the dotted keys that only other actions read.

    Keys the model does not know stay in the first part, where `check` refuses them with everything else.
    """
    read = {node.key for node in walk(config_type, action)}
    return _project(config_type, read, values, "")


def is_blank(value: Any) -> bool:
    """Whether a value counts as not given: null, an empty text, or the `???` of a template."""
    return value is None or (isinstance(value, str) and value in ("", REQUIRED))


def normalised(config_type: type, action: str | None, values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Values as they will run: blanks gone, 10.0 as 10, 1 as 1.0 where a float is read, choices in their own case."""
    known = {node.name: node for node in children(config_type, action, prefix)}
    found: dict[str, Any] = {}
    for name, node in known.items():
        value = values.get(name)
        if node.is_section:
            is_mapping = isinstance(value, Mapping)
            is_other = not is_mapping and not is_blank(value)
            found[name] = value if is_other else normalised(node.type, action, value or {}, node.key)
        elif not is_blank(value):
            found[name] = _converted(node, value)
    return found | {name: value for name, value in values.items() if name not in known}


@cache
def _schema(config_type: type, action: str) -> Mapping[str, Any]:
    return object_schema(config_type, action)


def _project(
    config_type: type, read: set[str], values: Mapping[str, Any], prefix: str
) -> tuple[dict[str, Any], list[str]]:
    known = {node.name: node for node in children(config_type, None, prefix)}
    kept: dict[str, Any] = {}
    ignored: list[str] = []
    for name, value in values.items():
        node = known.get(name)
        if node is not None and node.is_section and isinstance(value, Mapping):
            below, ignored_below = _project(node.type, read, value, node.key)
            kept |= {name: below} if below else {}
            ignored += ignored_below
        elif node is None or node.key in read:
            kept[name] = value
        else:
            ignored.append(node.key)
    return kept, ignored


def _filled(config_type: type, action: str, spec: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for node in children(config_type, action):
        if node.is_section:
            found[node.name] = _filled(node.type, action, spec[node.name])
        else:
            found[node.name] = spec[node.name] if node.name in spec else copy.deepcopy(node.default)
    return found


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
    return _WORDS.get(value.lower(), value) if isinstance(value, str) else value


def _to_choice(value: Any, param: Param) -> Any:
    if not param.fold_case or not isinstance(value, str):
        return value
    return next((choice for choice in param.choices if choice.casefold() == value.casefold()), value)


_WORDS: Final[Mapping[str, bool]] = {"yes": True, "on": True, "no": False, "off": False}
"""What YAML 1.1 files write for true and false."""

_CONVERT: Final[Mapping[type, Callable[[Any, Param], Any]]] = {
    int: _to_int,
    float: _to_float,
    bool: _to_bool,
    str: _to_choice,
}
