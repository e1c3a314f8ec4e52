"""YAML 1.2 (core types) and strict JSON text read as plain values."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, Final

import yaml

from tao_skill.errors import BadRequest, NotFound
from tao_skill.files import is_text

MAX_BYTES: Final = 1 << 18
MAX_VALUES: Final = 100_000
"""Bounds of a spec file: its size, and its values once aliases are written out."""

_BASES: Final = {"0x": 16, "0o": 8}
_RESOLVED: Final = (
    ("tag:yaml.org,2002:null", r"(?:~|null|Null|NULL|)", ["~", "n", "N", ""]),
    ("tag:yaml.org,2002:bool", r"(?:true|True|TRUE|false|False|FALSE)", list("tTfF")),
    ("tag:yaml.org,2002:int", r"(?:[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)", list("-+0123456789")),
    (
        "tag:yaml.org,2002:float",
        r"(?:[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))",
        list("-+.0123456789"),
    ),
)


class _Loader(yaml.SafeLoader):
    """Safe loader with the core types of YAML 1.2: 1e-4 is a number; yes, on and dates are text; keys are text."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        mapping: dict[Any, Any] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.constructor.ConstructorError(None, None, "a key must be plain text", key.start_mark)
            if key.value in mapping:
                raise yaml.constructor.ConstructorError(None, None, f"duplicate key {key.value!r}", key.start_mark)
            mapping[key.value] = self.construct_object(value, deep=deep)
        return mapping

    def construct_integer(self, node: yaml.ScalarNode) -> int:
        text = self.construct_scalar(node)
        return int(text, _BASES.get(text[:2], 10))


_Loader.yaml_implicit_resolvers = {}
for _tag, _pattern, _first in _RESOLVED:
    _Loader.add_implicit_resolver(_tag, re.compile(f"^{_pattern}$"), _first)
_Loader.yaml_constructors = {
    tag: build
    for tag, build in yaml.SafeLoader.yaml_constructors.items()
    if tag is None or tag.rpartition(":")[2] in ("null", "bool", "float", "str", "seq", "map")
}
_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_integer)


def parse_yaml(text: str) -> Any:
    """Parse one YAML document.

    Raises:
        ValueError: it is not YAML, holds a duplicate key or an unsafe tag, or holds too many values.
    """
    try:
        value = yaml.load(text, Loader=_Loader)  # noqa: S506 (a SafeLoader)
    except yaml.MarkedYAMLError as error:
        where = f" at line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise ValueError(f"{error.problem or error.context}{where}") from error
    except (yaml.YAMLError, KeyError, RecursionError) as error:
        raise ValueError("it holds a forbidden character or tag, or is nested too deeply") from error
    _bound(value)
    return value


def parse_json(text: str) -> Any:
    """Parse strict JSON.

    Raises:
        ValueError: it is not JSON, or holds NaN, Infinity, a duplicate key or half a character.
    """
    try:
        value = json.loads(text, parse_constant=_refuse_constant, object_pairs_hook=_unique)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    _bound(value)
    return value


def read_spec_file(path: Path) -> dict[str, Any]:
    """Read a spec file: JSON if it is called `.json`, else YAML. An empty file is an empty spec.

    Raises:
        NotFound: there is no such file.
        BadRequest: it cannot be read, is too large, or does not hold one mapping.
    """
    text = _read(path)
    try:
        value = parse_json(text) if path.suffix.lower() == ".json" else parse_yaml(text)
    except ValueError as error:
        raise BadRequest(
            f"spec file {path} cannot be parsed: {error}", fix="correct the file", path=str(path)
        ) from error
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise BadRequest(
            f"spec file {path} holds a {type(value).__name__}, accepted: a mapping of keys",
            fix="write `key: value` lines; see the template of the action",
            path=str(path),
        )
    return value


def _read(path: Path) -> str:
    if not path.exists():
        raise NotFound(f"no spec file {path}", fix="give the path of an existing YAML or JSON file", path=str(path))
    try:
        with path.open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
        if len(data) > MAX_BYTES:
            raise ValueError(f"it is larger than {MAX_BYTES} bytes")
        return data.decode("utf-8-sig")
    except (OSError, ValueError) as error:
        raise BadRequest(
            f"spec file {path} cannot be read: {error}", fix="give a UTF-8 YAML or JSON file", path=str(path)
        ) from error


def _bound(value: Any) -> None:
    pending, seen = [value], 0
    while pending:
        current = pending.pop()
        seen += 1
        if seen > MAX_VALUES:
            raise ValueError(f"it holds more than {MAX_VALUES} values once aliases are written out")
        if isinstance(current, str) and not is_text(current):
            raise ValueError("it holds half a character")
        if isinstance(current, dict):
            pending.extend((*current, *current.values()))
        elif isinstance(current, list):
            pending.extend(current)


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"duplicate key {next(name for name in names if names.count(name) > 1)!r}")
    return found
