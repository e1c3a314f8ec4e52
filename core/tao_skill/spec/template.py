"""Spec template of an action: the defaults as YAML, with descriptions and accepted values as comments."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from tao_skill.spec.schema import accepted, value_schema
from tao_skill.spec.tree import Node, children

INDENT = "  "


def build_template(config_type: type, model: str, action: str) -> str:
    """Build the YAML text, in declaration order; required parameters have the value `???`."""
    head = f"# Spec of {action} of {model}. Replace every ???; keys that are missing or null have their defaults.\n"
    return head + "\n".join(_lines(config_type, action, "")) + "\n"


def _lines(config_type: type, action: str, indent: str) -> Iterator[str]:
    for node in children(config_type, action):
        if not indent:
            yield ""
        yield f"{indent}# {_comment(node)}"
        if node.is_section:
            yield f"{indent}{node.name}:"
            yield from _lines(node.type, action, indent + INDENT)
        else:
            yield f"{indent}{node.name}: {_scalar(node.default)}"


def _comment(node: Node) -> str:
    if node.is_section:
        return node.param.description
    return f"{node.param.description} Accepted: {accepted(value_schema(node))}."


def _scalar(value: Any) -> str:
    """Format a value as JSON, which is valid YAML. YAML 1.1 reads 1e-4 as text, so it is written as 1.0e-4."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    lacks_fraction = isinstance(value, float) and "e" in text and "." not in text
    return text.replace("e", ".0e") if lacks_fraction else text
