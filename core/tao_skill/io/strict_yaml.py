"""YAML as plain values: the core types of YAML 1.2; that of others in bounded time and memory."""

from __future__ import annotations

import re
from typing import Any, Final

import yaml

from tao_skill.io.strict_json import bounded, integer

YAML_BYTES: Final = 1 << 18
YAML_VALUES: Final = 100_000
"""Bounds of a YAML text: its size, and its values once aliases are written out."""

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


class _Core(yaml.constructor.SafeConstructor, yaml.resolver.Resolver):
    """The core types of YAML 1.2: 1e-4 is a number; yes, on and dates are text; keys are text."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        if not isinstance(node, yaml.MappingNode):
            raise yaml.constructor.ConstructorError(None, None, "a mapping is expected", node.start_mark)
        mapping: dict[Any, Any] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.constructor.ConstructorError(None, None, "a key must be plain text", key.start_mark)
            if key.value in mapping:
                raise yaml.constructor.ConstructorError(None, None, f"duplicate key {key.value!r}", key.start_mark)
            mapping[key.value] = self.construct_object(value, deep=deep)
        return mapping

    def construct_integer(self, node: yaml.ScalarNode) -> int:
        return integer(self.construct_scalar(node))

    def construct_number(self, node: yaml.ScalarNode) -> float:
        return float(re.sub(r"\.(?=[a-zA-Z])", "", self.construct_scalar(node)))  # .inf and .nan are inf and nan


class _Dumper(getattr(yaml, "CSafeDumper", yaml.SafeDumper)):  # type: ignore[misc]
    """Quotes text that either version of YAML takes for something else."""


_Core.yaml_implicit_resolvers = {}
for _tag, _pattern, _first in _RESOLVED:
    _compiled = re.compile(f"^{_pattern}$")
    _Core.add_implicit_resolver(_tag, _compiled, _first)
    _Dumper.add_implicit_resolver(_tag, _compiled, _first)
_KEPT = {
    tag: build
    for tag, build in yaml.SafeLoader.yaml_constructors.items()
    if tag is None or tag.rpartition(":")[2] in ("null", "bool", "str", "seq", "map")
}
_Core.yaml_constructors = _KEPT | {
    "tag:yaml.org,2002:int": _Core.construct_integer,
    "tag:yaml.org,2002:float": _Core.construct_number,
}


class _Loader(_Core, yaml.SafeLoader):
    """Written in Python, so that deep nesting is a RecursionError."""


class _OwnLoader(_Core, getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """Ten times as fast where PyYAML has libyaml, and ended by the system where nesting is deep."""


def dump_yaml(value: Any) -> str:
    """Plain values as a YAML document, mappings in their own order."""
    return str(yaml.dump(value, Dumper=_Dumper, sort_keys=False))


def parse_yaml(text: str, *, own: bool = False) -> Any:
    """Parse one YAML document; `own` says that it came with this program.

    Raises:
        ValueError: it is not YAML, is too large, or holds a duplicate key, an unsafe tag or what `bounded` refuses.
    """
    if len(text) > YAML_BYTES:
        raise ValueError(f"it is longer than {YAML_BYTES} characters")
    try:
        value = yaml.load(text, Loader=_OwnLoader if own else _Loader)  # noqa: S506 (SafeLoaders)
    except yaml.MarkedYAMLError as error:
        where = f" at line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise ValueError(f"{error.problem or error.context}{where}") from error
    except (yaml.YAMLError, KeyError, OverflowError, RecursionError) as error:
        raise ValueError("it holds a forbidden character or tag, or is nested too deeply") from error
    return bounded(value, YAML_VALUES)
