"""From spec file and KEY=VALUE overrides to a checked spec and a config instance."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from tao_skill.errors import BadRequest
from tao_skill.spec.check import check, is_blank, normalised, project
from tao_skill.spec.text import parse_yaml, read_spec_file
from tao_skill.spec.tree import children, iter_params, lookup

__all__ = [
    "build",
    "check",
    "expand_shorthand",
    "given_keys",
    "is_blank",
    "merge",
    "override",
    "parse_override",
    "project",
    "read_spec_file",
]

_OVERRIDE: Final = re.compile(
    r"(?P<prefix>~|\+{0,2})(?P<key>[^\s=.~+][^\s=.]*(?:\.[^\s=.]+)*)(?:=(?P<value>.*))?", re.DOTALL
)
_FLOW: Final = re.compile(r"""'[^']*'|"(?:[^"\\]|\\.)*"|[^][{},:'"]+|.""", re.DOTALL)


def parse_override(text: str) -> tuple[str, Any]:
    """Split `KEY=VALUE` at the first `=` and read the value as YAML; `KEY=`, `KEY=null` and `~KEY` take a value back.

    Hydra's `+KEY=VALUE`, `++KEY=VALUE` and mappings without spaces, `{walk:0,sit:1}`, are read as Hydra means them.

    Raises:
        BadRequest: it is not KEY=VALUE, or the value is not YAML. No value is shown: it may be a secret.
    """
    match = _OVERRIDE.fullmatch(text.strip())
    if match is None or (match["value"] is None and match["prefix"] != "~"):
        name = text.partition("=")[0]
        raise BadRequest(f"{name!r} is not an override, accepted: KEY=VALUE", fix="write e.g. train.num_epochs=20")
    key, value = match["key"], (match["value"] or "").strip()
    if match["prefix"] == "~":
        return key, None
    if not value or value.startswith("#"):
        return key, value
    try:
        return key, parse_yaml(_spaced(value) if value[0] in "[{" else value)
    except ValueError as error:
        fix = f"""quote the value: '{key}="..."'"""
        raise BadRequest(f"the value of {key} is not valid YAML", fix=fix, path=key) from error


def expand_shorthand(key: str, shorthand: Mapping[str, str]) -> str:
    """The full key of a short one (`lr` -> `train.optim.lr`); any other key as it is."""
    return shorthand.get(key, key)


def merge(config_type: type | None, *layers: Mapping[str, Any]) -> dict[str, Any]:
    """Lay specs over each other, the last one wins; sections merge, values (lists and mappings too) are replaced."""
    nodes = {node.name: node for node in children(config_type)} if config_type else {}
    result: dict[str, Any] = {}
    for layer in layers:
        for name, value in layer.items():
            node, below = nodes.get(name), result.get(name)
            is_leaf = node is not None and not node.is_section
            if not is_leaf and isinstance(below, Mapping) and (isinstance(value, Mapping) or is_blank(value)):
                result[name] = merge(node.type if node else None, below, value or {})
            else:
                result[name] = copy.deepcopy(value)
    return result


def override(config_type: type, values: Mapping[str, Any], pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """Set dotted keys in order; `dataset.label_map.walk=0` changes one entry of a mapping, `=null` drops it."""
    result = merge(config_type, values)
    leaves = [leaf.key for leaf in iter_params(config_type)]
    for key, value in pairs:
        leaf = next((leaf for leaf in leaves if key.startswith(f"{leaf}.")), None)
        if leaf is not None:
            entries = lookup(result, leaf)
            entries = {**(entries if isinstance(entries, Mapping) else {}), key[len(leaf) + 1 :]: value}
            value = {name: entry for name, entry in entries.items() if entry is not None}
        result = merge(config_type, result, _nested(leaf or key, value))
    return result


def given_keys(values: Mapping[str, Any], prefix: str = "") -> set[str]:
    """Dotted keys that hold a value, and the sections around them; null, an empty text and `???` are none."""
    found: set[str] = set()
    for name, value in values.items():
        if isinstance(value, Mapping) and value:
            below = given_keys(value, f"{prefix}{name}.")
            found |= below | ({f"{prefix}{name}"} if below else set())
        elif not is_blank(value):
            found.add(f"{prefix}{name}")
    return found


def build(config_type: type, values: Mapping[str, Any]) -> Any:
    """The config instance of a checked spec: nested sections, defaults for what is missing.

    Raises:
        TypeError: `values` has a key that the config type has not; `check` names such keys.
    """
    spec = normalised(config_type, None, values)
    sections = {node.name: node.type for node in children(config_type) if node.is_section}
    return config_type(**{k: build(sections[k], v) if k in sections else v for k, v in spec.items()})


def _spaced(flow: str) -> str:
    """A list or mapping with the space that YAML wants after each key's colon: `{a:1}` would be one key, `a:1`."""
    opened: list[str] = []
    text, at_key = "", False
    for part in _FLOW.findall(flow):
        if part in ("{", "["):
            opened.append(part)
        elif part in ("}", "]") and opened:
            opened.pop()
        ends_key = at_key and part == ":"
        text += ": " if ends_key else part
        at_key = bool(opened) and opened[-1] == "{" and (part in ("{", ",") or (at_key and not ends_key))
    return text


def _nested(key: str, value: Any) -> dict[str, Any]:
    head, _, rest = key.partition(".")
    return {head: _nested(rest, value) if rest else value}
