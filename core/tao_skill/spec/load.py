"""Read spec files, parse KEY=VALUE overrides, merge specs and build config instances."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from tao_skill.errors import BadRequest, NotFound
from tao_skill.io.strict_json import MAX_DEPTH, bounded, is_utf8, parse_json, read_text
from tao_skill.spec.check import check, is_blank, normalised, project
from tao_skill.spec.tree import children, leaf_above, lookup

__all__ = [
    "build",
    "check",
    "expand_shorthand",
    "given_keys",
    "is_blank",
    "merge",
    "normalised",
    "override",
    "parse_override",
    "project",
    "read_spec_file",
]

_OVERRIDE: Final = re.compile(
    r"(?P<prefix>~|\+{0,2})(?P<key>[^\s=.~+][^\s=.]*(?:\.[^\s=.]+)*)(?:=(?P<value>.*))?", re.DOTALL
)
_OVERRIDE_LENGTH: Final = 1 << 14
_MAX_NAME: Final = 80
"""Characters of a key in a message."""

_FLOW: Final = re.compile(r"""'[^']*'|"(?:[^"\\]|\\.)*"|[^][{},:'"]+|.""", re.DOTALL)


def read_spec_file(path: Path) -> dict[str, Any]:
    """Read a spec file: JSON if the extension is `.json`, else YAML. An empty file is an empty spec.

    Raises:
        NotFound: the file does not exist.
        BadRequest: the file cannot be read, is too large, or is not a mapping.
    """
    from tao_skill.io.strict_yaml import YAML_BYTES, YAML_VALUES, parse_yaml

    if not path.exists():
        raise NotFound(
            f"spec file {path} does not exist", fix="give the path of an existing YAML or JSON file", path=str(path)
        )
    try:
        text = read_text(path, YAML_BYTES)
    except (OSError, ValueError) as error:
        raise BadRequest(
            f"spec file {path} cannot be read: {error}", fix="give a UTF-8 YAML or JSON file", path=str(path)
        ) from error
    try:
        value = bounded(parse_json(text), YAML_VALUES) if path.suffix.lower() == ".json" else parse_yaml(text)
    except ValueError as error:
        raise BadRequest(
            f"spec file {path} cannot be parsed: {error}", fix="correct the file", path=str(path)
        ) from error
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise BadRequest(
            f"spec file {path} is a {type(value).__name__}, accepted: a mapping of keys",
            fix="write `key: value` lines; see the template of the action",
            path=str(path),
        )
    return value


def parse_override(text: str) -> tuple[str, Any]:
    """Split `KEY=VALUE` at the first `=` and parse the value as YAML; `KEY=`, `KEY=null` and `~KEY` unset the key.

    Hydra's `+KEY=VALUE`, `++KEY=VALUE` and mappings without spaces, `{walk:0,sit:1}`, are accepted as in Hydra.

    Raises:
        BadRequest: the text is not KEY=VALUE, or the value is not YAML. Messages omit the value, which may be a secret.
    """
    match = _OVERRIDE.fullmatch(text.strip()) if len(text) <= _OVERRIDE_LENGTH and is_utf8(text) else None
    if match is None or (match["value"] is None and match["prefix"] != "~") or match["key"].count(".") >= MAX_DEPTH:
        name = text.partition("=")[0][:_MAX_NAME]
        raise BadRequest(
            f"{name!r} is not an override, accepted: KEY=VALUE of at most {_OVERRIDE_LENGTH} characters",
            fix="write KEY=VALUE, and longer values in a spec file",
        )
    key, value = match["key"], (match["value"] or "").strip()
    if match["prefix"] == "~":
        return key, None
    if not value or value.startswith("#"):
        return key, value
    from tao_skill.io.strict_yaml import parse_yaml

    try:
        return key, parse_yaml(_spaced(value) if value[0] in "[{" else value)
    except ValueError as error:
        fix = f"""quote the value: '{key}="..."'"""
        raise BadRequest(f"the value of {key} is not valid YAML", fix=fix, path=key) from error


def expand_shorthand(key: str, shorthand: Mapping[str, str]) -> str:
    """Return the full key of a short key (`lr` -> `train.optim.lr`), and any other key unchanged."""
    return shorthand.get(key, key)


def merge(config_type: type | None, *layers: Mapping[str, Any]) -> dict[str, Any]:
    """Merge specs; later layers win. Sections are merged, values (also lists and mappings) are replaced."""
    nodes = {node.name: node for node in children(config_type)} if config_type else {}
    result: dict[str, Any] = {}
    for layer in layers:
        for name, value in layer.items():
            node, lower = nodes.get(name), result.get(name)
            is_leaf = node is not None and not node.is_section
            if not is_leaf and isinstance(lower, Mapping) and (isinstance(value, Mapping) or is_blank(value)):
                result[name] = merge(node.type if node else None, lower, value or {})
            else:
                result[name] = copy.deepcopy(value)
    return result


def override(config_type: type, values: Mapping[str, Any], pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """Set dotted keys in order. `dataset.label_map.walk=0` sets an entry of a mapping, `=null` removes it."""
    result = merge(config_type, values)
    for key, value in pairs:
        leaf = leaf_above(config_type, key)
        if leaf is None:
            _set(config_type, result, key, value)
            continue
        if not isinstance(lookup(result, leaf), dict):
            _set(config_type, result, leaf, {})
        entries, name = lookup(result, leaf), key[len(leaf) + 1 :]
        if value is None:
            entries.pop(name, None)
        else:
            entries[name] = copy.deepcopy(value)
    return result


def given_keys(values: Mapping[str, Any], prefix: str = "") -> set[str]:
    """Return the dotted keys that have a value, and their sections; blank values (see `is_blank`) do not count."""
    keys: set[str] = set()
    for name, value in values.items():
        if isinstance(value, Mapping) and value:
            inner = given_keys(value, f"{prefix}{name}.")
            keys |= inner | ({f"{prefix}{name}"} if inner else set())
        elif not is_blank(value):
            keys.add(f"{prefix}{name}")
    return keys


def build(config_type: type, values: Mapping[str, Any]) -> Any:
    """Build the config instance of a checked spec; missing keys get their defaults.

    Raises:
        TypeError: `values` has an unknown key; `check` reports those.
    """
    spec = normalised(config_type, None, values)
    sections = {node.name: node.type for node in children(config_type) if node.is_section}
    return config_type(**{k: build(sections[k], v) if k in sections else v for k, v in spec.items()})


def _spaced(flow: str) -> str:
    """Add the space that YAML requires after the colon of a key: it reads `{a:1}` as a single key `a:1`."""
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


def _set(config_type: type | None, section: dict[str, Any], key: str, value: Any) -> None:
    name, _, rest = key.partition(".")
    if not rest:
        section |= merge(config_type, {name: section[name]} if name in section else {}, {name: value})
        return
    if not isinstance(section.get(name), dict):
        section[name] = {}
    nodes = {node.name: node.type for node in children(config_type)} if config_type else {}
    _set(nodes.get(name), section[name], rest, value)
