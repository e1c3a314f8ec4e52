"""YAML parser and writer: the core types of YAML 1.2, within bounds on time and memory for untrusted text."""

from __future__ import annotations

import re
from typing import Any, Final

import yaml

from tao_skill.io.strict_json import bounded, parse_integer

YAML_BYTES: Final = 1 << 18
YAML_VALUES: Final = 100_000
"""Maximum size of a YAML text in characters, and maximum number of its values with aliases expanded."""

_IMPLICIT_TYPES: Final = (
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
    """Constructor of the YAML 1.2 core types: 1e-4 is a number; yes, on and dates are text; keys are text."""

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
        return parse_integer(self.construct_scalar(node))

    def construct_number(self, node: yaml.ScalarNode) -> float:
        return float(re.sub(r"\.(?=[a-zA-Z])", "", self.construct_scalar(node)))  # .inf and .nan are inf and nan


class _Dumper(getattr(yaml, "CSafeDumper", yaml.SafeDumper)):  # type: ignore[misc]
    """Quotes text that YAML 1.1 or 1.2 would read as another type."""


_Core.yaml_implicit_resolvers = {}
for _tag, _pattern, _first in _IMPLICIT_TYPES:
    _compiled = re.compile(f"^{_pattern}$")
    _Core.add_implicit_resolver(_tag, _compiled, _first)
    _Dumper.add_implicit_resolver(_tag, _compiled, _first)
_SAFE_CONSTRUCTORS = {
    tag: build
    for tag, build in yaml.SafeLoader.yaml_constructors.items()
    if tag is None or tag.rpartition(":")[2] in ("null", "bool", "str", "seq", "map")
}
_Core.yaml_constructors = _SAFE_CONSTRUCTORS | {
    "tag:yaml.org,2002:int": _Core.construct_integer,
    "tag:yaml.org,2002:float": _Core.construct_number,
}


class _Loader(_Core, yaml.SafeLoader):
    """Loader for untrusted text, in pure Python: deep nesting raises RecursionError."""


class _TrustedLoader(_Core, getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """Loader for packaged files: ten times as fast with libyaml, which overflows the C stack on deep nesting."""


def dump_yaml(value: Any) -> str:
    """Write plain values as a YAML document; mappings keep their order."""
    return str(yaml.dump(value, Dumper=_Dumper, sort_keys=False))


def parse_yaml(text: str, *, trusted: bool = False) -> Any:
    """Parse a YAML document; pass `trusted=True` only for files of this package.

    Raises:
        ValueError: the text is not YAML, is too large, has a duplicate key or an unsafe tag, or fails `bounded`.
    """
    if len(text) > YAML_BYTES:
        raise ValueError(f"it is longer than {YAML_BYTES} characters")
    try:
        value = yaml.load(text, Loader=_TrustedLoader if trusted else _Loader)  # noqa: S506 (SafeLoaders)
    except yaml.MarkedYAMLError as error:
        position = f" at line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise ValueError(f"{error.problem or error.context}{position}") from error
    except (yaml.YAMLError, KeyError, OverflowError, RecursionError) as error:
        raise ValueError("it has a forbidden character or tag, or is nested too deeply") from error
    return bounded(value, YAML_VALUES)
