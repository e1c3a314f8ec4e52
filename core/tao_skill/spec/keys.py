"""Keys of a spec file or object: nested, dotted or short, in any mixture, as the full keys they stand for."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from tao_skill.errors import BadRequest, Problem, SpecError
from tao_skill.io.strict_json import MAX_DEPTH, bounded
from tao_skill.spec.check import is_blank
from tao_skill.spec.load import expand_shorthand, parse_override
from tao_skill.spec.problems import MOST_PROBLEMS, value_or_hidden
from tao_skill.spec.tree import Node, leaf_above, walk

MAX_VALUES: Final = 10_000
"""Values of overrides given as an object."""

_NAME_SHOWN: Final = 80
_PLAIN: Final = re.compile(r"[\w./][\w./:${}-]*")
_NOT_IN_YAML: Final = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")


class _Entry(NamedTuple):
    """One value with its full key, and how the key is written: `train: optim.lr`."""

    key: str
    value: Any
    spelling: str


def full_keys(
    config_type: type, written: Mapping[str, Any], shorthand: Mapping[str, str], source: str
) -> list[tuple[str, Any]]:
    """Full keys and their values, in the order in which `override` has to set them.

    The keys of a parameter's own mapping, such as the class names of `dataset.label_map`, stay as they are. A key given
    as null beside a value is as not given.

    Args:
        shorthand: full keys by short ones, which are read at the top level. source: the file, for messages.

    Raises:
        SpecError: two spellings of a key have different values, or a name is not a key.
    """
    nodes = {node.key: node for node in walk(config_type)}
    found: dict[str, _Entry] = {}
    problems: list[Problem] = []
    for entry in _entries(nodes, shorthand, written):
        other = found.get(entry.key)
        if _is_malformed(entry.key):
            problems.append(_malformed(entry, source))
        elif other is not None and _differ(other.value, entry.value):
            problems.append(_contradiction(config_type, other, entry, source))
        if other is None or is_blank(other.value):
            found[entry.key] = entry
    problems += _contradicting_entries(config_type, found, source)
    if problems:
        raise SpecError(problems[:MOST_PROBLEMS])
    ordered = sorted(found.values(), key=lambda entry: _rank(config_type, nodes, entry.key))
    return [(entry.key, entry.value) for entry in ordered]


def override_pairs(
    config_type: type, overrides: Sequence[str] | Mapping[str, Any], shorthand: Mapping[str, str]
) -> list[tuple[str, Any]]:
    """Full keys and values of `KEY=VALUE` texts, short keys first, or of an object, whose values stay as they are.

    Raises:
        BadRequest: a text is not KEY=VALUE, or the object is too large or contradicts itself.
    """
    if isinstance(overrides, Mapping):
        try:
            return full_keys(config_type, bounded(overrides, MAX_VALUES), shorthand, "overrides")
        except ValueError as error:
            raise BadRequest(f"overrides cannot be read: {error}", fix="write them into a spec file") from error
    pairs = [parse_override(text) for text in overrides]
    short = [(expand_shorthand(key, shorthand), value) for key, value in pairs if key in shorthand]
    return short + [(key, value) for key, value in pairs if key not in shorthand]


def override_texts(config_type: type, overrides: Mapping[str, Any], shorthand: Mapping[str, str]) -> list[str]:
    """An object of overrides as `KEY=VALUE` texts, which `parse_override` reads as the same values.

    Raises:
        BadRequest: as `override_pairs`.
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
    above: str = "",
) -> Iterator[_Entry]:
    for name, value in values.items():
        key = f"{section}.{name}" if section else shorthand.get(name, name)
        spelling = f"{above}: {name}" if above else name
        if key in nodes and nodes[key].is_section and (isinstance(value, Mapping) or is_blank(value)):
            yield from _entries(nodes, shorthand, value if isinstance(value, Mapping) else {}, key, spelling)
        else:
            yield _Entry(key, value, spelling)


def _contradicting_entries(config_type: type, found: Mapping[str, _Entry], source: str) -> Iterator[Problem]:
    """Entries of a mapping, `dataset.label_map.walk`, that the mapping itself has with another value."""
    for entry in found.values():
        leaf = leaf_above(config_type, entry.key)
        whole = found.get(leaf) if leaf is not None else None
        if leaf is None or whole is None or not isinstance(whole.value, Mapping):
            continue
        name = entry.key[len(leaf) + 1 :]
        if _differ(whole.value.get(name), entry.value):
            inside = _Entry(entry.key, whole.value[name], f"{whole.spelling}: {name}")
            yield _contradiction(config_type, inside, entry, source)


def _rank(config_type: type, nodes: Mapping[str, Node], key: str) -> int:
    """Entries of mappings come after the mappings; what is wrongly given for a section comes last, and is reported."""
    if leaf_above(config_type, key) is not None:
        return 1
    return 2 if key in nodes and nodes[key].is_section else 0


def _differ(one: Any, other: Any) -> bool:
    if is_blank(one) or is_blank(other):
        return False
    return isinstance(one, bool) != isinstance(other, bool) or bool(one != other)


def _is_malformed(key: str) -> bool:
    return "" in key.split(".") or key.count(".") >= MAX_DEPTH


def _malformed(entry: _Entry, source: str) -> Problem:
    name = entry.spelling[:_NAME_SHOWN]
    return Problem(
        key=entry.key[:_NAME_SHOWN],
        message=f"{name!r} in {source} is not a key, accepted: at most {MAX_DEPTH} names with one dot between two",
        fix=f"correct or remove {name!r}",
    )


def _contradiction(config_type: type, one: _Entry, other: _Entry, source: str) -> Problem:
    first, second = (
        f"`{each.spelling}: {value_or_hidden(config_type, each.key, each.value)}`" for each in (one, other)
    )
    return Problem(
        key=one.key,
        message=f"{one.key} has two values in {source}: {first} and {second}",
        fix=f"keep one of `{one.spelling}` and `{other.spelling}`",
    )
