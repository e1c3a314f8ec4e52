"""JSON Schema (draft 2020-12) of an action's spec, built from the config type of the model."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from tao_skill.spec.param import REQUIRED, Param
from tao_skill.spec.tree import Leaf, Node, children, iter_params, shape

__all__ = [
    "Leaf",
    "accepted",
    "build_schema",
    "choices",
    "default_values",
    "iter_params",
    "leaves",
    "object_schema",
    "value_schema",
]

DRAFT: Final = "https://json-schema.org/draft/2020-12/schema"
TUNED_ACTION: Final = "train"
"""The only action that AutoML tunes; other schemas have `x-automl` disabled for all parameters."""

_TYPES: Final[Mapping[Any, str | None]] = {
    str: "string",
    bool: "boolean",
    int: "integer",
    float: "number",
    dict[str, Any]: "object",
    Any: None,
}


def build_schema(config_type: type, model: str, action: str) -> dict[str, Any]:
    """Build the published schema: `object_schema` with defaults and lists of popular and AutoML parameters."""
    leaves = list(iter_params(config_type, action))
    tuned = action == TUNED_ACTION
    return {
        "$schema": DRAFT,
        "title": f"{model} {action}",
        "description": f"Every parameter that {action} of {model} reads.",
        **object_schema(config_type, action),
        "default": default_values(config_type, action),
        "popular": [leaf.key for leaf in leaves if leaf.param.popular],
        "automl_default_parameters": [leaf.key for leaf in leaves if tuned and leaf.param.tune],
        "automl_structural_parameters": [leaf.key for leaf in leaves if tuned and leaf.param.structural],
        "automl_disabled_parameters": [leaf.key for leaf in leaves if not (tuned and leaf.param.may_search)],
    }


def object_schema(config_type: type, action: str, prefix: str = "") -> dict[str, Any]:
    """Build the schema of a section, including nested sections."""
    nodes = children(config_type, action, prefix)
    properties = {node.name: _node_schema(node, action) for node in nodes}
    schema: dict[str, Any] = {"type": "object", "properties": properties, "additionalProperties": False}
    required = [node.name for node in nodes if _is_required(node, properties[node.name])]
    return schema | ({"required": required} if required else {})


def default_values(config_type: type, action: str | None = None) -> dict[str, Any]:
    """Return the nested defaults of the parameters that an action reads; `???` for required ones."""
    return {
        node.name: default_values(node.type, action) if node.is_section else copy.deepcopy(node.default)
        for node in children(config_type, action)
    }


def _is_required(node: Node, schema: Mapping[str, Any]) -> bool:
    return "required" in schema if node.is_section else node.default == REQUIRED


def _node_schema(node: Node, action: str) -> dict[str, Any]:
    described = {"description": node.param.description}
    if node.is_section:
        return described | object_schema(node.type, action, node.key)
    default = {} if node.default == REQUIRED else {"default": node.default}
    return described | value_schema(node) | default | {"x-automl": _automl(node.param, action)}


def value_schema(node: Node | Leaf) -> dict[str, Any]:
    """Build the schema of a parameter's values: type, choices and bounds."""
    parts = shape(node.type)
    item = _item_schema(node.param, parts.item, required=node.default == REQUIRED)
    by_container: Mapping[type | None, dict[str, Any]] = {
        None: item,
        list: {"type": "array", "items": item},
        dict: {"type": "object", "additionalProperties": item},
    }
    schema = by_container[parts.container]
    if parts.optional:
        schema |= {"type": [schema["type"], "null"]}
        schema |= {"enum": [*schema["enum"], None]} if "enum" in schema else {}
    return schema


def leaves(schema: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the dotted key and the schema of each parameter in the schema of an action."""
    for name, node in schema["properties"].items():
        if "properties" in node:
            yield from leaves(node, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", node


def accepted(schema: Mapping[str, Any]) -> str:
    """Describe the values that a schema accepts, e.g. `an integer of at least -1 but not 0`."""
    if "pattern" in schema:
        return str(schema["description"])
    if "anyOf" in schema:
        return " or ".join(map(accepted, schema["anyOf"]))
    kind, *null = schema["type"] if isinstance(schema.get("type"), list) else [schema.get("type")]
    if kind == "array":
        text = f"a list of {_describe(schema['items'], plural=True)}"
    elif kind == "object":
        text = f"a mapping of names to {_describe(schema.get('additionalProperties', {}), plural=True)}"
    else:
        text = _describe({**schema, "type": kind})
    return text + (" or null" if null else "")


def choices(schema: Mapping[str, Any]) -> list[str]:
    """Return the options of a parameter's schema, without those that differ only in case."""
    options: dict[str, str] = {}
    nested = (option for part in schema.get("anyOf", ()) for option in part.get("enum", ()))
    for option in (*schema.get("enum", ()), *nested):
        if option is not None:
            options.setdefault(str(option).casefold(), str(option))
    return list(options.values())


def _describe(schema: Mapping[str, Any], *, plural: bool = False) -> str:
    noun = f"one of {', '.join(choices(schema))}" if choices(schema) else _NOUNS[schema.get("type")][plural]
    return noun + _limits(schema)


def _limits(schema: Mapping[str, Any]) -> str:
    low, above, high = (schema.get(name) for name in ("minimum", "exclusiveMinimum", "maximum"))
    text = ""
    if low is not None and high is not None:
        text = f" from {low:.10g} to {high:.10g}"
    elif low is not None:
        text = f" of at least {low:.10g}"
    elif above is not None:
        text = f" above {above:.10g}" + (f" and at most {high:.10g}" if high is not None else "")
    elif high is not None:
        text = f" of at most {high:.10g}"
    rejected = [str(value) for value in schema.get("not", {}).get("enum", ()) if value not in ("", REQUIRED)]
    return text + (f" but not {', '.join(rejected)}" if rejected else "")


_NOUNS: Final[Mapping[str | None, tuple[str, str]]] = {
    "string": ("text", "texts"),
    "boolean": ("true or false", "true or false values"),
    "integer": ("an integer", "integers"),
    "number": ("a number", "numbers"),
    None: ("any value", "values"),
}


def _item_schema(param: Param, item: type, *, required: bool) -> dict[str, Any]:
    blank = ("", REQUIRED) if required and item is str else ()
    rejected = [*param.reject, *blank]
    schema: dict[str, Any] = {
        "type": _TYPES[item],
        "enum": None if param.file_suffixes else _options(param),
        "anyOf": _options_or_files(param) if param.file_suffixes else None,
        "minimum": param.minimum,
        "exclusiveMinimum": param.above,
        "maximum": param.maximum,
        "not": {"enum": rejected} if rejected else None,
    }
    return {name: value for name, value in schema.items() if value is not None}


def _options(param: Param) -> list[str] | None:
    if not param.choices:
        return None
    upper = [choice.upper() for choice in param.choices] if param.fold_case else []
    return list(dict.fromkeys([*param.choices, *upper]))


def _options_or_files(param: Param) -> list[dict[str, Any]]:
    pattern = "|".join(re.escape(suffix) for suffix in param.file_suffixes)
    file = {"description": f"a file *{param.file_suffixes[0]}", "pattern": f"({pattern})$"}
    return [{"enum": _options(param)}, file]


def _automl(param: Param, action: str) -> dict[str, Any]:
    if action != TUNED_ACTION:
        return {"enabled": False}
    depends_on = dict(zip(("key", "value"), param.depends_on, strict=True)) if param.depends_on else None
    hints = {
        "tune": param.tune or None,
        "low": param.low,
        "high": param.high,
        "log": param.log or None,
        "option_weights": list(param.weights) or None,
        "off": param.off,
        "condition": param.condition,
        "depends_on": depends_on,
        "parent": param.parent,
    }
    return {"enabled": param.may_search} | {name: value for name, value in hints.items() if value is not None}
