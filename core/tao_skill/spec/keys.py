"""Resolve the keys of a spec file or object, which may be nested, dotted or short, to full dotted keys."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from tao_skill.errors import BadRequest, Problem, SpecError
from tao_skill.io.strict_json import MAX_DEPTH, bounded
from tao_skill.spec.check import is_blank
from tao_skill.spec.load import expand_shorthand, parse_override
from tao_skill.spec.problems import MAX_PROBLEMS, value_or_hidden
from tao_skill.spec.tree import Node, leaf_above, walk

MAX_VALUES: Final = 10_000
"""Maximum number of values in an object of overrides."""

_MAX_NAME: Final = 80
"""Characters of a key in a message."""
_PLAIN: Final = re.compile(r"[\w./][\w./:${}-]*")
_NOT_IN_YAML: Final = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")


class _Entry(NamedTuple):
    """A value, its full key, and the key as written, e.g. `train: optim.lr`."""

    key: str
    value: Any
    spelling: str


def full_keys(
    config_type: type, values: Mapping[str, Any], shorthand: Mapping[str, str], source: str
) -> list[tuple[str, Any]]:
    """Return full keys and values, in the order in which `override` must set them.

    Keys inside a mapping parameter, such as the class names of `dataset.label_map`, stay as they are. A null is ignored
    if another spelling of the key has a value.

    Args:
        shorthand: full key of each short key; short keys are accepted at the top level. source: the file, for messages.

    Raises:
        SpecError: two spellings of a key have different values, or a key is malformed.
    """
    nodes = {node.key: node for node in walk(config_type)}
    entries: dict[str, _Entry] = {}
    problems: list[Problem] = []
    for entry in _entries(nodes, shorthand, values):
        other = entries.get(entry.key)
        if _is_malformed(entry.key):
            problems.append(_malformed(entry, source))
        elif other is not None and _differ(other.value, entry.value):
            problems.append(_contradiction(config_type, other, entry, source))
        if other is None or is_blank(other.value):
            entries[entry.key] = entry
    problems += _contradicting_entries(config_type, entries, source)
    if problems:
        raise SpecError(problems[:MAX_PROBLEMS])
    ordered = sorted(entries.values(), key=lambda entry: _rank(config_type, nodes, entry.key))
    return [(entry.key, entry.value) for entry in ordered]


def override_pairs(
    config_type: type, overrides: Sequence[str] | Mapping[str, Any], shorthand: Mapping[str, str]
) -> list[tuple[str, Any]]:
    """Return full keys and values of overrides: `KEY=VALUE` strings (short keys first) or an object.

    Raises:
        BadRequest: a string is not KEY=VALUE, or the object is too large or has contradicting values.
    """
    if isinstance(overrides, Mapping):
        try:
            return full_keys(config_type, bounded(overrides, MAX_VALUES), shorthand, "overrides")
        except ValueError as error:
            raise BadRequest(f"overrides cannot be read: {error}", fix="use a spec file") from error
    pairs = [parse_override(text) for text in overrides]
    short = [(expand_shorthand(key, shorthand), value) for key, value in pairs if key in shorthand]
    return short + [(key, value) for key, value in pairs if key not in shorthand]


def override_texts(config_type: type, overrides: Mapping[str, Any], shorthand: Mapping[str, str]) -> list[str]:
    """Convert an object of overrides to `KEY=VALUE` strings that `parse_override` reads as the same values.

    Raises:
        BadRequest: the same errors as `override_pairs`.
    """
    return [_override_text(key, value) for key, value in override_pairs(config_type, overrides, shorthand)]


def _override_text(key: str, value: Any) -> str:
    text = f"{key}={value}"
    if isinstance(value, str) and _PLAIN.fullmatch(value) and parse_override(text) == (key, value):
        return text
    quoted = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return f"{key}={_NOT_IN_YAML.sub(_as_escape, quoted)}"


def _as_escape(match: re.Match[str]) -> str:
    return rf"\u{ord(match[0]):04x}"


def _entries(
    nodes: Mapping[str, Node],
    shorthand: Mapping[str, str],
    values: Mapping[str, Any],
    section: str = "",
    section_spelling: str = "",
) -> Iterator[_Entry]:
    for name, value in values.items():
        key = f"{section}.{name}" if section else shorthand.get(name, name)
        spelling = f"{section_spelling}: {name}" if section_spelling else name
        if key in nodes and nodes[key].is_section and (isinstance(value, Mapping) or is_blank(value)):
            yield from _entries(nodes, shorthand, value if isinstance(value, Mapping) else {}, key, spelling)
        else:
            yield _Entry(key, value, spelling)


def _contradicting_entries(config_type: type, entries: Mapping[str, _Entry], source: str) -> Iterator[Problem]:
    """Find keys inside a mapping, e.g. `dataset.label_map.walk`, that the mapping itself gives another value."""
    for entry in entries.values():
        leaf = leaf_above(config_type, entry.key)
        mapping = entries.get(leaf) if leaf is not None else None
        if leaf is None or mapping is None or not isinstance(mapping.value, Mapping):
            continue
        name = entry.key[len(leaf) + 1 :]
        if _differ(mapping.value.get(name), entry.value):
            in_mapping = _Entry(entry.key, mapping.value[name], f"{mapping.spelling}: {name}")
            yield _contradiction(config_type, in_mapping, entry, source)


def _rank(config_type: type, nodes: Mapping[str, Node], key: str) -> int:
    """Sort order: parameters, keys inside mapping parameters, then values given for a section, which are errors."""
    if leaf_above(config_type, key) is not None:
        return 1
    return 2 if key in nodes and nodes[key].is_section else 0


def _differ(first: Any, second: Any) -> bool:
    if is_blank(first) or is_blank(second):
        return False
    return isinstance(first, bool) != isinstance(second, bool) or bool(first != second)


def _is_malformed(key: str) -> bool:
    return "" in key.split(".") or key.count(".") >= MAX_DEPTH


def _malformed(entry: _Entry, source: str) -> Problem:
    name = entry.spelling[:_MAX_NAME]
    return Problem(
        key=entry.key[:_MAX_NAME],
        message=f"{name!r} in {source} is not a key, accepted: up to {MAX_DEPTH} names separated by single dots",
        fix=f"correct or remove {name!r}",
    )


def _contradiction(config_type: type, first: _Entry, second: _Entry, source: str) -> Problem:
    texts = (f"`{entry.spelling}: {value_or_hidden(config_type, entry.key, entry.value)}`" for entry in (first, second))
    return Problem(
        key=first.key,
        message=f"{first.key} has two values in {source}: {' and '.join(texts)}",
        fix=f"keep one of `{first.spelling}` and `{second.spelling}`",
    )
